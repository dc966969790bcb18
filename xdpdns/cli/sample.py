"""`xdpdns sample`."""

from __future__ import annotations

import signal
from typing import Any

import click

from xdpdns.cli.options import netns_option, output_option, port_option, print_json
from xdpdns.cli.types import InterfaceName, Number, WholeNumber

_share = Number(0, 1)


@click.command(short_help="Look at N packets: who asks, who answers, is somebody throttled?")
@click.argument("interface", required=False, type=InterfaceName(), metavar="[IFACE]")
@click.option(
    "-c",
    "--count",
    type=WholeNumber(1, 10**12),
    metavar="N",
    help="End after so many packets, both ways together and DNS or not: exactly so many.",
)
@click.option(
    "--seconds",
    type=Number(0.1, 86400),
    metavar="T",
    help="End after so long; with --count whichever comes first.  [default: 10 without --count]",
)
@click.option(
    "--top",
    type=WholeNumber(1),
    metavar="N",
    default=10,
    show_default=True,
    help="How many clients and servers to show.",
)
@port_option
@click.option(
    "--hook",
    type=click.Choice(["tcx", "clsact"]),
    help="Where at TC.  [default: tcx where the kernel has it]",
)
@click.option(
    "--max-addresses",
    type=WholeNumber(1, 1 << 22),
    metavar="N",
    default=65536,
    show_default=True,
    help="Room in the kernel for addresses; what has none is counted together.",
)
@click.option(
    "--throttle-ratio",
    type=_share,
    metavar="SHARE",
    default=0.8,
    show_default=True,
    help="`throttled` if fewer answers leave for each query that came.",
)
@click.option(
    "--unanswered-ratio",
    type=_share,
    metavar="SHARE",
    default=0.8,
    show_default=True,
    help="`unanswered` if fewer answers come for each query that left.",
)
@click.option(
    "--top-share",
    type=_share,
    metavar="SHARE",
    default=0.5,
    show_default=True,
    help="`one_client` if one has a larger share of the queries.",
)
@click.option(
    "--min-messages",
    type=WholeNumber(1),
    metavar="N",
    default=50,
    show_default=True,
    help="Messages that a verdict needs; with fewer it is neither yes nor no.",
)
@netns_option
@output_option()
def sample(
    interface: str | None,
    count: int | None,
    seconds: float | None,
    top: int,
    port: tuple[int, ...],
    hook: Any,
    max_addresses: int,
    throttle_ratio: float,
    unanswered_ratio: float,
    top_share: float,
    min_messages: int,
    netns: str | None,
    output: str,
) -> None:
    """Look at so many packets, or for some seconds: who asks, who answers, is somebody throttled?

    Packets, DNS queries and answers each way, queries per answer, the clients that ask most and the
    servers that are asked most, and verdicts with their figures. A small program at TC ingress and
    egress does the counting, beside whatever is there; it and its table of addresses are gone
    afterwards. Ctrl-C gives the result so far. Needs root.

    \b
    Examples:
      xdpdns sample -c 10000
      xdpdns sample eth0 --seconds 30
      xdpdns sample eth0 --output json | jq .flags.throttled
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns.netns import enter
    from xdpdns.sample import present, report
    from xdpdns.sample.take import SampleSettings, take
    from xdpdns.sample.verdict import Thresholds, judge

    if count is None and seconds is None:
        seconds = 10.0
    settings = SampleSettings(interface or "", count, seconds, port, hook, max_addresses)
    thresholds = Thresholds(
        throttle_ratio=throttle_ratio,
        unanswered_ratio=unanswered_ratio,
        top_share=top_share,
        min_messages=min_messages,
    )
    if netns is not None:
        enter(netns)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the result so far, too
    with present.progress(settings) as watch:
        taken = take(settings, watch)
    verdicts = judge(taken.counts, thresholds)
    if output == "json":
        print_json(report.to_json(taken, verdicts, top))
    else:
        present.text(taken, verdicts, top)
    if taken.ended == "gone":
        raise click.ClickException(f"the interface {taken.interface} went away meanwhile.")
