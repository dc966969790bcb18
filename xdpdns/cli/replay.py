"""`xdpdns replay`."""

from __future__ import annotations

import logging
from typing import Any

import click

from xdpdns.cli.options import (
    log_to_stderr,
    output_option,
    print_json,
    program_options,
    program_settings,
)

log = logging.getLogger(__name__)


@click.command(short_help="Run captures through the program that counts live traffic.")
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar="FILE...")
@output_option("prometheus")
@program_options
def replay(files: tuple[str, ...], output: str, **options: Any) -> None:
    """Run captures through the very program that counts live traffic.

    Reads pcap and pcapng, also .gz, .xz and .zst: Ethernet, Linux cooked, raw IP, BSD null. Several
    files are one traffic. Needs root, for the kernel runs the program.

    \b
    Examples:
      xdpdns replay trace.pcap
      xdpdns replay --output json --tlds all day1.pcap.gz day2.pcap.gz | jq .packets
    """  # noqa: D301  \b is for click: keep these lines
    log_to_stderr(False)
    from xdpdns import kernel, present
    from xdpdns.loader import LoadedProgram
    from xdpdns.program import compile_program
    from xdpdns.replay import replay as run
    from xdpdns.replay import to_json

    settings = program_settings(options)
    kernel.require_root()
    program = LoadedProgram(compile_program(settings), settings)
    try:
        with present.progress("Replaying") as advance:
            result = run(files, program, advance)
    finally:
        program.close()
    if output == "json":
        print_json(to_json(result))
    elif output == "prometheus":
        click.echo(present.prometheus(result.snapshot, "replay"), nl=False)
    else:
        present.counters(result.snapshot, result.packets)
    for warning in result.warnings:
        log.warning("%s", warning)
    if result.warnings:
        raise SystemExit(1)
