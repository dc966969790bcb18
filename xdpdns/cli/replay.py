"""`xdpdns replay`."""

from __future__ import annotations

import logging
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import click

from xdpdns import roles
from xdpdns.cli.options import (
    latency_option,
    log_to_stderr,
    output_option,
    print_json,
    program_options,
    program_settings,
    response_labels_option,
    responses_option,
)

log = logging.getLogger(__name__)


@click.command(short_help="Run captures through the program that counts live traffic.")
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@output_option("prometheus")
@responses_option
@response_labels_option
@latency_option(0)
@program_options
def replay(
    files: tuple[str, ...],
    output: str,
    responses: bool,
    response_labels: tuple[str, ...],
    latency_sample: int,
    **options: Any,
) -> None:
    """Run captures through the very programs that count live traffic.

    Reads pcap and pcapng, also .gz, .xz and .zst: Ethernet, Linux cooked, raw IP, BSD null. Several
    files are one traffic. Every packet is looked at as a query and as a response, and times are
    those of the capture. Needs root, for the kernel runs the programs.

    \b
    Examples:
      xdpdns replay trace.pcap
      xdpdns replay --latency-sample 1 in.pcap out.pcap
      xdpdns replay --output json --tlds all day1.pcap.gz day2.pcap.gz | jq .packets
    """  # noqa: D301  \b is for click: keep these lines
    log_to_stderr(False)
    from xdpdns import kernel, present, present_replay
    from xdpdns.loader import LoadedProgram
    from xdpdns.program import Compilation
    from xdpdns.replay import replay as run
    from xdpdns.replay import to_json
    from xdpdns.timing import CaptureClock

    queries = replace(program_settings(options), timing=latency_sample, capture_clock=True)
    sides = roles.programs(
        "server", queries, responses=responses, response_labels=response_labels
    ).values()
    kernel.require_root()
    # Both at XDP: at TC the kernel makes a socket buffer of each packet first.
    settings = [replace(side, hook="xdp") for side in sides]
    with ExitStack() as stack:
        compilations = [stack.enter_context(closing(Compilation(one))) for one in settings]
        programs: list[LoadedProgram] = []
        for compilation, one in zip(compilations, settings, strict=True):
            shared = programs[0].maps if programs else None
            program = LoadedProgram(compilation.result(), one, shared=shared)
            programs.append(stack.enter_context(closing(program)))
        clock = None
        if "clock" in programs[0].maps:
            clock = stack.enter_context(CaptureClock(programs[0].maps["clock"]))
        advance = stack.enter_context(present.progress("Replaying"))
        result = run(files, programs[0], advance, programs[1] if responses else None, clock)
    if output == "json":
        print_json(to_json(result))
    elif output == "prometheus":
        text = present_replay.prometheus(result.snapshot, "replay", result.responses)
        click.echo(text, nl=False)
    else:
        present_replay.show(result)
    for warning in result.warnings:
        log.warning("%s", warning)
    if result.warnings:
        raise SystemExit(1)
