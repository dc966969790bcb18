"""`xdpdns check`, `status` and `plan`: what is there, before anything is changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from xdpdns import roles
from xdpdns.cli.options import (
    exact_edns_option,
    latency_option,
    netns_option,
    output_option,
    print_json,
    program_options,
    program_settings,
    response_labels_option,
    responses_option,
    role_option,
)
from xdpdns.cli.types import WholeNumber


@click.command(short_help="Show what is attached where, since when, at what cost.")
@netns_option
@output_option()
def status(netns: str | None, output: str) -> None:
    """Show what XDP programs are attached where, since when, and at what cost.

    Shows other people's programs too, and xdpdns's own that were kept. Needs root.

    \b
    Examples:
      xdpdns status
      xdpdns status --output json | jq '.interfaces[].programs[] | select(.ours)'
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns import present
    from xdpdns import status as module
    from xdpdns.netns import enter

    if netns is not None:
        enter(netns)
    found = module.status()
    if output == "json":
        print_json(module.to_json(found))
    else:
        present.status(found)


@click.command(short_help="Say what a configuration can come to, in series and memory.")
@output_option()
@role_option(*roles.ROLES)
@responses_option
@response_labels_option
@latency_option(0)
@program_options
@exact_edns_option
@click.option(
    "--cpus",
    type=WholeNumber(1, 8192),
    metavar="N",
    help="CPUs of the machine that is planned for.  [default: those of this one]",
)
def plan(
    output: str,
    role: str,
    responses: bool,
    response_labels: tuple[str, ...],
    latency_sample: int,
    exact_edns: bool,
    cpus: int | None,
    **options: Any,
) -> None:
    """Say how many series and how much memory a configuration can come to.

    Takes the options of `attach`: what its programs can need on one interface, dimension by
    dimension. Nothing is attached or compiled, and no root is needed.

    \b
    Examples:
      xdpdns plan
      xdpdns plan --labels af,qtype,tld --tlds nl,de --max-series 5000
      xdpdns plan --cpus 64 --role both
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns import kernel, present
    from xdpdns import plan as module

    programs = roles.programs(
        role,
        replace(program_settings(options), exact_edns=exact_edns, timing=latency_sample),
        responses=responses,
        response_labels=response_labels,
    )
    made = module.plan(programs, cpus or kernel.possible_cpus())
    if output == "json":
        print_json(module.to_json(made))
    else:
        present.plan(made)


@click.command(short_help="Say whether this machine can run xdpdns, and what mends it.")
@netns_option
@output_option()
def check(netns: str | None, output: str) -> None:
    """Say whether this machine can run xdpdns: each need, and the command that mends it.

    Compiles and loads the real program and gives it a query, but attaches nothing. The exit code is
    1 if a need is not met.

    \b
    Examples:
      xdpdns check
      xdpdns check --netns customer
    """  # noqa: D301  \b is for click: keep these lines
    from xdpdns import check as module
    from xdpdns import present
    from xdpdns.netns import enter

    if netns is not None:
        enter(netns)
    report = module.check()
    if output == "json":
        print_json(module.to_json(report))
    else:
        present.check(report)
    if not report.met:
        raise SystemExit(1)
