"""`xdpdns report`: published tables from captures and counters."""

from __future__ import annotations

import logging
import socket
from datetime import datetime
from pathlib import Path

import click

from xdpdns.cli.options import (
    log_to_stderr,
    netns_option,
    output_option,
    port_option,
    print_json,
)
from xdpdns.settings import ProgramSettings

log = logging.getLogger(__name__)


@click.group()
def report() -> None:
    """Make a published table, from captures or counters."""


@report.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@port_option
@output_option()
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.svg|FILE.png",
    help="Draw the distributions into this file; needs matplotlib (the extra `plot`).",
)
def edns(files: tuple[str, ...], port: tuple[int, ...], output: str, plot: Path | None) -> None:
    """Who asks with EDNS and DO, and the sizes they offer: RIPE-352, Tables 1 and 2, Figure 2.

    Reads what `xdpdns replay` reads; several files are one traffic. A file that is not readable to
    its end gives a report of what was readable, a warning, and the exit code 1. Needs root, for the
    kernel runs the program.

    \b
    Examples:
      xdpdns report edns trace.pcap
      xdpdns report edns --plot sizes.svg day1.pcap.gz day2.pcap.gz
      xdpdns report edns --output json trace.pcap | jq .table2.E.sizes
    """  # noqa: D301  \b is for click: keep these lines
    log_to_stderr(False)
    from xdpdns import kernel, plot_edns, present, present_edns
    from xdpdns.loader import LoadedProgram
    from xdpdns.program import compile_program
    from xdpdns.replay import replay
    from xdpdns.report_edns import make_report, to_json

    # The report is made of plain counters: rows of one dimension are the cheapest.
    settings = ProgramSettings(ports=port, labels=("af",), exact_edns=True)
    if plot is not None:
        plot_edns.check(plot)
    kernel.require_root()
    program = LoadedProgram(compile_program(settings), settings)
    try:
        with present.progress("Replaying") as advance:
            result = replay(files, program, advance)
    finally:
        program.close()
    made = make_report(result, port)
    if output == "json":
        print_json(to_json(made))
    else:
        present_edns.show(made)
    for warning in result.warnings:
        log.warning("%s", warning)
    if plot is not None:
        plot_edns.save(made, plot)
    if result.warnings:
        raise SystemExit(1)


@report.command()
@click.argument("sources", nargs=-1, required=True, type=click.Path(), metavar="FILE...|IFACE...")
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Report interfaces that are being counted; this file keeps the counters from one midnight "
    "to the next.",
)
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="YYYY-MM-DD",
    help="Of captures, only this UTC day.  [default: every day that they have]",
)
@click.option(
    "--service",
    metavar="NAME",
    help="The server's name in the files.  [default: this host's name]",
)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where the files go.  [default: .]",
)
@port_option
@netns_option
def rssac002(
    sources: tuple[str, ...],
    state: Path | None,
    date: datetime | None,
    service: str | None,
    output_dir: Path,
    port: tuple[int, ...],
    netns: str | None,
) -> None:
    """The volume, sizes and response codes of a UTC day, as RSSAC002 has root servers publish them.

    Writes three YAML files a day, traffic-volume, traffic-sizes and rcode-volume, and prints their
    names. From captures of both directions; or with --state from running counters, to be run by a
    timer at 00:00 UTC: the first time it notes the counters, from then on it reports the day that
    has ended. Needs root.

    \b
    Examples:
      xdpdns report rssac002 --service a.root-servers.net day.pcap.gz
      xdpdns report rssac002 --state /var/lib/xdpdns/rssac002.json --output-dir /srv/rssac eth0
    """  # noqa: D301  \b is for click: keep these lines
    log_to_stderr(False)
    from xdpdns.dump.files import require_folder
    from xdpdns.rssac002.measures import check_service, lacks
    from xdpdns.rssac002.publish import from_captures, from_counters, write

    name = check_service(service or socket.gethostname())
    require_folder(output_dir)
    if state is None:
        _check_files(sources)
        found = from_captures(sources, port, date.date() if date else None)
    elif date is not None:
        raise click.UsageError("--date is for captures: counters only tell the day that has ended.")
    else:
        found = from_counters(sources, state, netns)
    for ended, measures in sorted(found.days.items()):
        for path in write(output_dir, name, ended, measures):
            click.echo(path)
        for lack in lacks(measures):
            log.warning("%s: %s", ended, lack)
    found.done()
    for warning in found.warnings:
        log.warning("%s", warning)
    if found.warnings:
        raise SystemExit(1)


def _check_files(names: tuple[str, ...]) -> None:
    interfaces = {name for _, name in socket.if_nameindex()}
    for name in names:
        if name in interfaces and not Path(name).exists():
            raise click.UsageError(f"{name} is an interface: give --state FILE to report it.")
