"""`xdpdns push`: the counters of what runs, to an OpenTelemetry collector."""

from __future__ import annotations

import logging

import click

from xdpdns.cli.dump import count_option
from xdpdns.cli.options import log_to_stderr, netns_option
from xdpdns.cli.types import InterfaceName, Number

log = logging.getLogger(__name__)


@click.command(short_help="Send the counters of running programs to OpenTelemetry.")
@click.argument("interfaces", nargs=-1, metavar="[IFACE]...", type=InterfaceName())
@click.option(
    "--otlp",
    required=True,
    metavar="URL",
    help="A receiver of OTLP over HTTP, as http://localhost:4318; the path /v1/metrics is added if "
    "there is none.",
)
@click.option(
    "--interval",
    type=Number(min=0.1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How often.",
)
@count_option
@netns_option
def push(
    interfaces: tuple[str, ...], otlp: str, interval: float, count: int | None, netns: str | None
) -> None:
    """Send the counters of interfaces that are being counted, of all by default, until Ctrl-C.

    Reads the programs' maps in the kernel as `xdpdns dump` does, and sends them by OpenTelemetry's
    SDK; its variables such as OTEL_EXPORTER_OTLP_HEADERS are honoured. A receiver that fails is
    tried again at the next interval. Needs root, and `pip install 'xdpdns[otlp]'`.

    \b
    Examples:
      xdpdns push --otlp http://localhost:4318
      xdpdns push eth0 --otlp https://otel.example.net --interval 30
      xdpdns push --otlp http://localhost:4318 --count 1
    """  # noqa: D301  \b is for click: keep these lines
    log_to_stderr(False)
    from xdpdns.dump.otlp import Push, PushError
    from xdpdns.dump.pace import ticks
    from xdpdns.dump.reading import Reader

    if not otlp.startswith(("http://", "https://")):
        raise click.BadParameter(f"{otlp} is no URL that begins with http:// or https://.")
    reader, receiver = Reader(interfaces, netns), Push(otlp)
    try:
        for _ in ticks(interval, count):
            reading = reader.read()
            try:
                receiver.send(reading)
            except PushError as error:
                if count is not None:
                    raise
                log.warning("%s", error)
    finally:
        receiver.close()
