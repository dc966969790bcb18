"""`xdpdns report`: published tables from captures."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from xdpdns.cli.options import log_to_stderr, output_option, port_option, print_json
from xdpdns.settings import ProgramSettings

log = logging.getLogger(__name__)


@click.group()
def report() -> None:
    """Make a published table from captures."""


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
