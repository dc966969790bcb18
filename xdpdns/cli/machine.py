"""`xdpdns check`, `status` and `plan`: what is there, before anything is changed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import click

from xdpdns.cli.options import (
    exact_edns_option,
    netns_option,
    program_options,
    program_settings,
)

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


@click.command()
@_output
@program_options
@exact_edns_option
def plan(output: str, exact_edns: bool, **options: Any) -> None:
    """Say how many series and how much memory a configuration can come to.

    Takes the options of `attach`, dimension by dimension, for one interface. Nothing is attached or
    compiled, and no root is needed.

    \b
    Examples:
      xdpdns plan
      xdpdns plan --labels af,qtype,tld --tlds nl,de --max-series 5000
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns import kernel, present
    from xdpdns import plan as module

    settings = replace(program_settings(options), exact_edns=exact_edns)
    made = module.plan(settings, kernel.possible_cpus())
    if output == "json":
        click.echo(json.dumps(module.to_json(made), indent=2))
    else:
        present.plan(made)


@click.command()
@netns_option
@_output
def check(netns: str | None, output: str) -> None:
    """Say whether this machine can run xdpdns: each need, and the command that mends it.

    Compiles and loads the real program and gives it a query, but attaches nothing. The exit code is
    1 if a need is not met.
    """
    from xdpdns import check as module
    from xdpdns import present
    from xdpdns.netns import enter

    if netns is not None:
        enter(netns)
    report = module.check()
    if output == "json":
        click.echo(json.dumps(module.to_json(report), indent=2))
    else:
        present.check(report)
    if not report.met:
        raise SystemExit(1)
