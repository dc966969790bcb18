"""`xdpdns demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xdpdns.cli.options import output_option, print_json
from xdpdns.cli.types import ListenAddress, Number

if TYPE_CHECKING:
    from xdpdns.listen import Address


@click.command(short_help="Show everything on private namespaces with real queries.")
@click.option(
    "--rate",
    type=Number(1, 10_000),
    default=500,
    show_default=True,
    help="Packets a second.",
)
@click.option(
    "--seconds",
    type=Number(0.5),
    help="How long to run.  [default: until Ctrl-C]",
)
@click.option(
    "--web.listen-address",
    "web_listen_address",
    type=ListenAddress(),
    default="127.0.0.1:10530",
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where to serve /metrics.",
)
@output_option()
def demo(rate: float, seconds: float | None, web_listen_address: Address, output: str) -> None:
    """Show everything on private namespaces with real queries; touches none of your interfaces.

    A client sends a mix of known proportions to a server's eth0, where the agent counts; its
    metrics are on loopback. What was sent and what was counted is compared, and must be equal: the
    exit code is 1 if it is not. Needs root.

    \b
    Examples:
      xdpdns demo
      xdpdns demo --rate 5000 --seconds 10 --output json
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns import demo as module
    from xdpdns import present

    settings = module.DemoSettings(rate, seconds, web_listen_address)
    with present.demo(quiet=output == "json") as view:
        result = module.run(settings, view)
    if result is None:
        return
    if output == "json":
        print_json(module.to_json(result))
    else:
        present.comparison(result)
    if not result.look.equal:
        sent, counted = result.look.packets
        raise click.ClickException(
            f"{sent} packets were sent and {counted} counted, or not as what they are: "
            "please report it, with the output of `xdpdns check`."
        )
