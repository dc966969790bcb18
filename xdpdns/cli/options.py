"""What several commands share: types of values, the program's options, the log's form."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from xdpdns import vocab
from xdpdns.settings import ProgramSettings

F = TypeVar("F", bound=Callable[..., Any])

_INTERFACES = Path("/sys/class/net")


class InterfaceName(click.ParamType[str]):
    """The name of a network interface; completes to those there are."""

    name = "interface"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """The interfaces of this network namespace that begin so."""
        names = sorted(entry.name for entry in _INTERFACES.iterdir())
        return [
            click.shell_completion.CompletionItem(name)
            for name in names
            if name.startswith(incomplete)
        ]


class Numbers(click.ParamType[tuple[int, ...]]):
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


exact_edns_option = click.option(
    "--exact-edns",
    is_flag=True,
    help="Also count EDNS sizes exactly (xdpdns_edns_exact_queries_total); 1 MB a CPU.",
)
netns_option = click.option(
    "--netns",
    metavar="NAME|PATH",
    help="The network namespace of the interfaces, as `ip netns` lists it, or a file such as "
    "/proc/PID/ns/net.  [default: this one]",
)


def program_options(command: F) -> F:
    """The options of ProgramSettings, for every command that compiles the program."""
    default = ProgramSettings()
    options = [
        click.option(
            "--port",
            "ports",
            type=Numbers(),
            default=default.ports,
            show_default="53",
            help=f"Destination ports that carry DNS, up to {vocab.MAX_PORTS}, with commas.",
        ),
        click.option(
            "--labels",
            default=",".join(vocab.DIMENSIONS),
            show_default=True,
            help="Dimensions of a row. One that is left out costs nothing, and sums over it.",
        ),
        click.option(
            "--edns-edges",
            type=Numbers(),
            default=default.edns_edges,
            show_default="1232,1400,1500",
            help="EDNS sizes that part the buckets of the `edns` label.",
        ),
        click.option(
            "--tlds",
            default=default.tlds,
            show_default=True,
            metavar="iana|all|none|NAME,...|@FILE",
            help="TLDs that have rows of their own; others are counted as ~other. "
            "`iana` is the root zone and the special-use names.",
        ),
        click.option(
            "--qtypes",
            type=click.Choice(["registered", "all"]),
            default=default.qtypes,
            show_default=True,
            help="Whether types without a mnemonic are counted as ~other, or each by itself.",
        ),
        click.option(
            "--max-series",
            type=int,
            default=default.max_series,
            show_default=True,
            help="The most rows that there can be on an interface.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def program_settings(options: dict[str, Any]) -> ProgramSettings:
    """Take the program's options out of a command's."""
    return ProgramSettings(
        ports=options.pop("ports"),
        labels=tuple(part.strip() for part in options.pop("labels").split(",") if part.strip()),
        edns_edges=options.pop("edns_edges"),
        tlds=options.pop("tlds"),
        qtypes=options.pop("qtypes"),
        max_series=options.pop("max_series"),
    )


def log_to_stderr(verbose: bool) -> None:
    """Have our own modules log to the standard error, their debug messages too if `verbose`."""
    logging.basicConfig(stream=sys.stderr, format="xdpdns: %(message)s")
    # Only our own: libraries are silent below a warning.
    logging.getLogger("xdpdns").setLevel(logging.DEBUG if verbose else logging.INFO)
