"""Types of option values: each checks what it is given, and completes what can be known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from xdpdns.errors import SettingsError

if TYPE_CHECKING:
    from xdpdns.listen import Address
    from xdpdns.privileges import User
    from xdpdns.web_config import WebConfigFile

T = TypeVar("T")

_INTERFACES = Path("/sys/class/net")
_NAMESPACES = Path("/run/netns")


class InterfaceName(click.ParamType[str]):
    """The name of a network interface; completes to those there are."""

    name = "interface"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The interfaces of this network namespace, without those that are named already."""
        given = ctx.params.get(param.name or "") or ()
        return _begin_with(
            incomplete, (name for name in names_in(_INTERFACES) if name not in given)
        )


class NamespaceName(click.ParamType[str]):
    """A network namespace; completes to those that `ip netns` lists."""

    name = "namespace"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The named namespaces."""
        return _begin_with(incomplete, names_in(_NAMESPACES))


class WholeNumber(click.IntRange):
    """Within bounds; click's own name of it is no word for people."""

    name = "whole number"


class Number(click.FloatRange):
    """Within bounds, as WholeNumber."""

    name = "number"


class CommaList(click.ParamType[T]):
    """Values separated by commas; completes each to one of `choices`.

    In a configuration file they may also be a list.
    """

    def __init__(self, choices: Iterable[str] = ()) -> None:
        self._choices = tuple(choices)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The choices that are not in the list yet, behind what is."""
        before, comma, _ = incomplete.rpartition(",")
        rest = [choice for choice in self._choices if choice not in before.split(",")]
        return _begin_with(incomplete, (before + comma + choice for choice in rest))


class Names(CommaList[tuple[str, ...]]):
    """Names separated by commas."""

    name = "names"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """`qtype, tld` to a tuple."""
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())


class NamesOrNone(Names):
    """The same, or the word `none`."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """`dot,doq` to a tuple, `none` to an empty one."""
        names = super().convert(value, param, ctx)
        return () if names == ("none",) else names


class Numbers(CommaList[tuple[int, ...]]):
    """Numbers separated by commas."""

    name = "numbers"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """`1232,1400` to a tuple."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers such as 1232,1400.", param, ctx)


class Tlds(CommaList[str]):
    """What vocab.parse_tlds() reads; it is checked where it is used."""

    name = "tlds"


class ListenAddress(click.ParamType["Address"]):
    """An address to listen on, see parse_address()."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        """`[::1]:10530` to an Address."""
        from xdpdns.listen import Address, parse_address

        if isinstance(value, Address):
            return value
        with naming_variable(ctx, param):
            return parse_address(value)


class UserName(click.ParamType["User"]):
    """A user by name or number, see find_user(); completes to those there are."""

    name = "user"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> User:
        """`xdpdns` or `998` to a User."""
        from xdpdns.privileges import User, find_user

        if isinstance(value, User):
            return value
        with naming_variable(ctx, param):
            return find_user(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The users that this machine knows, but root."""
        import pwd

        return _begin_with(incomplete, (one.pw_name for one in pwd.getpwall() if one.pw_uid))


class WebConfigPath(click.Path):
    """The path of a web configuration file, which is read and checked."""

    def convert(  # type: ignore[override]  # click.Path gives the path
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> WebConfigFile:
        """Read the file, unless it has been."""
        from xdpdns.web_config import WebConfigFile

        if isinstance(value, WebConfigFile):
            return value
        with naming_variable(ctx, param):
            return WebConfigFile(Path(value))


@contextmanager
def naming_variable(ctx: click.Context | None, param: click.Parameter | None) -> Iterator[None]:
    """Have a SettingsError say which variable of the environment had the value, if one had."""
    try:
        yield
    except SettingsError as error:
        if ctx is None or param is None or not (name := variable(ctx, param)):
            raise
        raise SettingsError(f"{name}: {error}") from error


def variable(ctx: click.Context, param: click.Parameter) -> str:
    """The variable that a parameter's value is from; empty if it is from elsewhere."""
    name = param.name or ""
    if ctx.get_parameter_source(name) is not ParameterSource.ENVIRONMENT:
        return ""
    return f"{ctx.auto_envvar_prefix}_{name.upper()}"


def names_in(folder: Path) -> list[str]:
    """The names in a folder, in order; none if there is no such folder."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []


def _begin_with(incomplete: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
