"""`xdpdns demo`."""

from __future__ import annotations

import json

import click


@click.command()
@click.option(
    "--rate",
    type=click.FloatRange(1, 10_000),
    default=500,
    show_default=True,
    help="Packets a second.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.5),
    help="How long to run.  [default: until Ctrl-C]",
)
@click.option(
    "--web.listen-address",
    "listen",
    default="127.0.0.1:10530",
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where to serve /metrics.",
)
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print the comparison at the end.",
)
def demo(rate: float, seconds: float | None, listen: str, output: str) -> None:
    """Show everything on private namespaces with real queries; touches none of your interfaces.

    A client sends a mix of known proportions to a server's eth0, where the agent counts; its
    metrics are on loopback. What was sent and what was counted is compared, and must be equal: the
    exit code is 1 if it is not. Needs root.
    """
    from xdpdns import demo as module
    from xdpdns import present
    from xdpdns.listen import parse_address

    settings = module.DemoSettings(rate, seconds, parse_address(listen))
    with present.demo(quiet=output == "json") as view:
        result = module.run(settings, view)
    if result is None:
        return
    if output == "json":
        click.echo(json.dumps(module.to_json(result), indent=2))
    else:
        present.comparison(result)
    if not result.look.equal:
        sent, counted = result.look.packets
        raise click.ClickException(
            f"{sent} packets were sent and {counted} counted, or not as what they are: "
            "please report it, with the output of `xdpdns check`."
        )
