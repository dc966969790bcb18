"""`xdpdns dump`: the counters of what runs, in many formats."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from xdpdns.cli.options import netns_option
from xdpdns.cli.types import InterfaceName, Number, WholeNumber

OUTPUTS = ("prometheus", "openmetrics", "json", "csv", "influx", "graphite", "dsc-xml")

interval_option = click.option(
    "--interval",
    type=Number(min=0.1),
    metavar="SECONDS",
    help="Go on, once every so many seconds, until Ctrl-C.  [default: once]",
)
count_option = click.option(
    "--count", type=WholeNumber(min=1), metavar="N", help="With --interval: end after so many."
)


@click.command(short_help="Print the counters of running programs in many formats.")
@click.argument("interfaces", nargs=-1, metavar="[IFACE]...", type=InterfaceName())
@click.option(
    "--output", type=click.Choice(OUTPUTS), default="prometheus", show_default=True, help="Format."
)
@click.option(
    "--textfile",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Put it into this file, in place of the one before: whole, and readable by all. With "
    "--interval and without --count the file is removed at the end, lest old numbers pass for new "
    "ones.",
)
@interval_option
@count_option
@netns_option
def dump(
    interfaces: tuple[str, ...],
    output: str,
    textfile: Path | None,
    interval: float | None,
    count: int | None,
    netns: str | None,
) -> None:
    """Print the counters of interfaces that are being counted, of all by default.

    Reads the programs' maps in the kernel, whether or not an agent runs. Needs root.

    \b
    Examples:
      xdpdns dump --output csv > counters.csv
      xdpdns dump --textfile /var/lib/prometheus/node-exporter/xdpdns.prom --interval 15
      xdpdns dump eth0 --output influx | curl --data-binary @- http://localhost:8428/write
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns.dump import FORMATS
    from xdpdns.dump.files import replace_file
    from xdpdns.dump.pace import ticks
    from xdpdns.dump.reading import Reader

    if count is not None and interval is None:
        raise click.UsageError("--count needs --interval: one reading is all there is without it.")
    reader, written = Reader(interfaces, netns), FORMATS[output]
    number = 0
    for number, _ in enumerate(ticks(interval, count), start=1):
        head = written.head if number == 1 or textfile is not None else b""
        text = head + written.write(reader.read())
        if textfile is None:
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        else:
            replace_file(textfile, text)
    if textfile is not None and interval is not None and number != count:
        textfile.unlink(missing_ok=True)
