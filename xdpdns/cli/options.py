"""Options that several commands share, and the log's form."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from xdpdns import roles, vocab
from xdpdns.cli.types import Names, NamesOrNone, NamespaceName, Numbers, Tlds, naming_variable
from xdpdns.settings import ProgramSettings

F = TypeVar("F", bound=Callable[..., Any])


def comma_list(values: Iterable[str | int]) -> str:
    """A default as it would be typed; click shows one of any other kind in its own way."""
    return ",".join(map(str, values))


responses_option = click.option(
    "--responses/--no-responses",
    default=True,
    show_default=True,
    help="Count responses too (xdpdns_responses_total).",
)
response_labels_option = click.option(
    "--response-labels",
    type=Names(vocab.RESPONSE_DIMENSIONS),
    default=comma_list(roles.RESPONSE_LABELS),
    show_default=True,
    metavar="LIST",
    help=f"The labels of responses, from {','.join(vocab.RESPONSE_DIMENSIONS)}.",
)


def role_option(*choices: str) -> Callable[[F], F]:
    """`--role`, one of these of roles.ROLES."""
    return click.option(
        "--role",
        type=click.Choice(choices),
        default="server",
        show_default=True,
        help="; ".join(f"{name}: {roles.ROLES[name]}" for name in choices) + ".",
    )


def latency_option(sample: int) -> Callable[[F], F]:
    """`--latency-sample`, by default one in so many."""
    return click.option(
        "--latency-sample",
        type=int,
        default=sample,
        show_default=True,
        metavar="N",
        help="Time the responses to one query in N (a power of two; 1: all of them, 0: none).",
    )


exact_edns_option = click.option(
    "--exact-edns",
    is_flag=True,
    help="Also count EDNS sizes exactly (xdpdns_edns_exact_queries_total); 1 MB a CPU.",
)
netns_option = click.option(
    "--netns",
    type=NamespaceName(),
    metavar="NAME|PATH",
    help="The network namespace of the interfaces, as `ip netns` lists it, or a file such as "
    "/proc/PID/ns/net.  [default: this one]",
)


def output_option(*more: str) -> Callable[[F], F]:
    """`--output text|json`, or `more` formats."""
    return click.option(
        "--output",
        type=click.Choice(["text", "json", *more]),
        default="text",
        show_default=True,
        help="How to print it; the schemas of JSON are in the README.",
    )


def print_json(made: Any) -> None:
    """Print one JSON object: indented on a terminal, on a line of its own elsewhere."""
    click.echo(json.dumps(made, indent=2 if sys.stdout.isatty() else None))


_PROGRAM = {
    "port": "ports",
    "encrypted": "encrypted",
    "labels": "labels",
    "edns_edges": "edns_edges",
    "tlds": "tlds",
    "qtypes": "qtypes",
    "max_series": "max_series",
}
"""Parameters of the commands, and the fields of ProgramSettings that they set."""


def _check(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Have ProgramSettings look at this value alone: its rules hold for a file's values too."""
    if not ctx.resilient_parsing:
        with naming_variable(ctx, param):
            ProgramSettings(**{_PROGRAM[param.name or ""]: value})
    return value


port_option = click.option(
    "--port",
    type=Numbers(),
    callback=_check,
    default=comma_list(ProgramSettings().ports),
    show_default=True,
    help=f"Destination ports that carry DNS, up to {vocab.MAX_PORTS}, with commas.",
)


def program_options(command: F) -> F:
    """The options of ProgramSettings, for every command that compiles the program."""
    default = ProgramSettings()
    options = [
        port_option,
        click.option(
            "--encrypted",
            type=NamesOrNone([*vocab.ENCRYPTED, "none"]),
            callback=_check,
            default=comma_list(default.encrypted),
            show_default=True,
            metavar="LIST|none",
            help="Encrypted transports whose packets are an outcome of their own, told by the "
            "port: dot (853/TCP), doq (853/UDP), doh3 (443/UDP).",
        ),
        click.option(
            "--labels",
            type=Names(vocab.DIMENSIONS),
            callback=_check,
            default=comma_list(default.labels),
            show_default=True,
            help="Dimensions of a row. One that is left out costs nothing, and sums over it.",
        ),
        click.option(
            "--edns-edges",
            type=Numbers(),
            callback=_check,
            default=comma_list(default.edns_edges),
            show_default=True,
            help="EDNS sizes that part the buckets of the `edns` label.",
        ),
        click.option(
            "--tlds",
            type=Tlds(["iana", "all", "none"]),
            callback=_check,
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
            callback=_check,
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
    return ProgramSettings(**{field: options.pop(name) for name, field in _PROGRAM.items()})


def log_to_stderr(verbose: bool) -> None:
    """Have our own modules log to the standard error, their debug messages too if `verbose`."""
    logging.basicConfig(stream=sys.stderr, format="xdpdns: %(message)s")
    # Only our own: libraries are silent below a warning.
    logging.getLogger("xdpdns").setLevel(logging.DEBUG if verbose else logging.INFO)
