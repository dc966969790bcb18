"""The command line: options to settings, and one command a function. Nothing else happens here."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from xdpdns import __version__, vocab
from xdpdns.errors import SettingsError, XdpdnsError
from xdpdns.settings import ProgramSettings

log = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

_INTERFACES = Path("/sys/class/net")


class Commands(click.Group):
    """The group: errors that a user can mend become one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command: 0 done, 1 could not, 2 wrong usage."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.UsageError(str(error)) from error
        except XdpdnsError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            # whoever read our output has enough of it
            sys.stderr.close()
            ctx.exit(1)


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


def _program_options(command: F) -> F:
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


def _program_settings(options: dict[str, Any]) -> ProgramSettings:
    """Take the program's options out of a command's."""
    return ProgramSettings(
        ports=options.pop("ports"),
        labels=tuple(part.strip() for part in options.pop("labels").split(",") if part.strip()),
        edns_edges=options.pop("edns_edges"),
        tlds=options.pop("tlds"),
        qtypes=options.pop("qtypes"),
        max_series=options.pop("max_series"),
    )


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "XDPDNS",
        "max_content_width": 100,
    },
)
@click.version_option(__version__, prog_name="xdpdns")
def main() -> None:
    """Count the DNS queries that reach a nameserver, in the kernel, and serve them to Prometheus.

    An XDP program classifies every incoming packet and adds to a counter; nothing is copied to
    user space and no packet is changed. Start with `xdpdns check`, then `xdpdns attach eth0`.

    Exit codes: 0 done, 1 could not, 2 wrong usage. Options can also be set in the environment:
    XDPDNS_ATTACH_MODE=generic is `attach --mode generic`.
    """


@main.command()
@click.argument("interfaces", nargs=-1, required=True, type=InterfaceName(), metavar="IFACE...")
@click.option(
    "--mode",
    type=click.Choice(["auto", "native", "generic"]),
    default="auto",
    show_default=True,
    help="Run in the driver (native) or behind it (generic); auto: native where the driver can.",
)
@click.option(
    "--web.listen-address",
    "listen",
    multiple=True,
    default=[":10530"],
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where to serve /metrics; may be given several times. [::1]:10530 for IPv6.",
)
@click.option(
    "--web.config.file",
    "web_config",
    type=click.Path(path_type=Path),
    help="TLS and basic auth, in the format of the Prometheus exporter toolkit.",
)
@click.option(
    "--program-stats",
    is_flag=True,
    help="Have the kernel time the program (xdpdns_program_run_seconds_total); "
    "costs some 20 to 40 ns a packet.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say how long the steps of the start took.")
@_program_options
def attach(
    interfaces: tuple[str, ...],
    mode: str,
    listen: Sequence[str],
    web_config: Path | None,
    program_stats: bool,
    verbose: bool,
    **options: Any,
) -> None:
    r"""Count on interfaces and serve /metrics, until Ctrl-C.

    Refuses an interface that has another XDP program, and takes only its own program off at the
    end. Needs root, or CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.

    \b
    Examples:
      xdpdns attach eth0
      xdpdns attach eth0 eth1 --web.listen-address 127.0.0.1:10530
      xdpdns attach eth0 --labels af,qtype,tld --tlds nl,de,arpa
    """
    _log_to_stderr(verbose)
    from xdpdns import app
    from xdpdns.listen import parse_address

    if len(set(interfaces)) != len(interfaces):
        raise SettingsError("an interface is named twice: name each once.")
    settings = app.AgentSettings(
        interfaces=interfaces,
        mode=mode,
        listen=tuple(parse_address(text) for text in listen),
        stats=program_stats,
        web_config=_web_config(web_config),
        program=_program_settings(options),
    )
    app.run(settings)


def _web_config(path: Path | None) -> Any:
    if path is None:
        return None
    from xdpdns.web_config import WebConfigFile

    return WebConfigFile(path)


@main.command()
@click.argument("interfaces", nargs=-1, required=True, type=InterfaceName(), metavar="IFACE...")
def detach(interfaces: tuple[str, ...]) -> None:
    """Take off what xdpdns put on interfaces, and nothing else.

    Needed only after an agent was killed, since `attach` cleans up by itself.
    """
    from xdpdns.attach import detach_ours

    for name in interfaces:
        click.echo(detach_ours(name))


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@click.option(
    "--output",
    type=click.Choice(["table", "json", "prometheus"]),
    default="table",
    show_default=True,
    help="How to print the counters.",
)
@_program_options
def replay(files: tuple[str, ...], output: str, **options: Any) -> None:
    r"""Run captures through the very program that counts live traffic.

    Reads pcap and pcapng, also .gz, .xz and .zst: Ethernet, Linux cooked, raw IP, BSD null. Several
    files are one traffic. Needs root, for the kernel runs the program.

    \b
    Examples:
      xdpdns replay trace.pcap
      xdpdns replay --output json --tlds all day1.pcap.gz day2.pcap.gz | jq .packets
    """
    _log_to_stderr(False)
    from xdpdns import kernel, present
    from xdpdns.loader import LoadedProgram
    from xdpdns.program import compile_program
    from xdpdns.replay import replay as run
    from xdpdns.replay import to_json

    settings = _program_settings(options)
    kernel.require_root()
    program = LoadedProgram(compile_program(settings), settings)
    try:
        with present.progress("Replaying") as advance:
            result = run(files, program, advance)
    finally:
        program.close()
    if output == "json":
        click.echo(json.dumps(to_json(result)))
    elif output == "prometheus":
        click.echo(present.prometheus(result.snapshot, "replay"), nl=False)
    else:
        present.counters(result.snapshot, result.packets)
    for warning in result.warnings:
        log.warning("%s", warning)
    if result.warnings:
        raise SystemExit(1)


def _log_to_stderr(verbose: bool) -> None:
    logging.basicConfig(stream=sys.stderr, format="xdpdns: %(message)s")
    # Only our own: libraries are silent below a warning.
    logging.getLogger("xdpdns").setLevel(logging.DEBUG if verbose else logging.INFO)
