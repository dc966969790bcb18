"""`xdpdns top`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import click

from xdpdns import roles
from xdpdns.cli.options import (
    latency_option,
    netns_option,
    program_options,
    program_settings,
    responses_option,
    role_option,
)
from xdpdns.cli.types import InterfaceName, Number, WholeNumber


@click.command(short_help="Show what is being counted right now: rates and shares.")
@click.argument("interfaces", nargs=-1, type=InterfaceName(), metavar="[IFACE]...")
@click.option(
    "--interval",
    type=Number(0.1, 3600),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--count", type=WholeNumber(1), metavar="N", help="End after so many intervals.")
@click.option("--once", is_flag=True, help="The same as --count 1.")
@click.option(
    "--output",
    type=click.Choice(["screen", "text", "json"]),
    help="`json` is an object a line.  [default: screen on a terminal, else text]",
)
@click.option(
    "--filter",
    default="",
    metavar="LABEL=VALUE...",
    help="Only rows that fit, as 'qtype=AAAA tld=nl,de do!=1'.",
)
@click.option(
    "--sort",
    type=click.Choice(["rate", "name", "change"]),
    default="rate",
    show_default=True,
    help="The order of the rows; with --totals `rate` is the total.",
)
@click.option("--totals", is_flag=True, help="Counts since the program was loaded, not rates.")
@click.option(
    "--rows",
    type=WholeNumber(1),
    metavar="N",
    default=10,
    show_default=True,
    help="How many rows of each table, as text.",
)
@role_option("server", "client")
@responses_option
@latency_option(1)
@netns_option
@program_options
def top(
    interfaces: tuple[str, ...],
    interval: float,
    count: int | None,
    once: bool,
    output: str | None,
    sort: Any,
    totals: bool,
    rows: int,
    role: str,
    responses: bool,
    latency_sample: int,
    netns: str | None,
    **options: Any,
) -> None:
    """Show what is being counted right now: rates, shares and changes, in the terminal.

    Reads the program of a running agent, and leaves it as it is; where none counts, counts by
    itself until it ends (the options from --role on are for that). Without a name it shows all
    interfaces that are being counted, Tab changes between them; `?` explains the keys. Needs root.

    \b
    Examples:
      xdpdns top
      xdpdns top eth0 --filter 'qtype=ANY do=1'
      xdpdns top eth0 --once --output json
      xdpdns top eth0 --interval 10 --count 6 >minute.txt
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns.netns import enter
    from xdpdns.top.loop import TopSettings, run

    if once and count is not None:
        raise click.UsageError("--once is --count 1: give one of them.")
    screen = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    settings = TopSettings(
        interfaces=tuple(dict.fromkeys(interfaces)),
        interval=interval,
        count=1 if once else count,
        output=output or ("screen" if screen and not once else "text"),
        filter=options.pop("filter"),
        sort=sort,
        totals=totals,
        rows=rows,
        role=role,
        programs=roles.programs(
            role,
            replace(program_settings(options), timing=latency_sample),
            responses=responses,
        ),
    )
    if settings.output == "screen" and not screen:
        raise click.UsageError("--output screen needs a terminal: give text or json.")
    if netns is not None:
        enter(netns)
    try:
        run(settings)
    except KeyboardInterrupt:
        return  # what one ends it with
