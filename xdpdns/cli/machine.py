"""`xdpdns check`, `status` and `plan`: what is there, before anything is changed."""

from __future__ import annotations

import json

import click

from xdpdns.cli.options import netns_option

_output = click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)


@click.command()
@netns_option
@_output
def status(netns: str | None, output: str) -> None:
    """Show what XDP programs are attached where, since when, and at what cost.

    Shows other people's programs too, and xdpdns's own whose agent was killed. Needs root.
    """
    from xdpdns import present
    from xdpdns import status as module
    from xdpdns.netns import enter

    if netns is not None:
        enter(netns)
    found = module.status()
    if output == "json":
        click.echo(json.dumps(module.to_json(found), indent=2))
    else:
        present.status(found)
