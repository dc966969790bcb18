"""The command line: options to settings, and one command a function. Nothing else happens here.

A module for each group of commands; what they do is imported when a command runs.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import click

from xdpdns.cli.attach import attach, detach
from xdpdns.cli.completion import completion
from xdpdns.cli.config import config, said_of_variables
from xdpdns.cli.config_file import DEFAULT, WITHOUT_FILE, chosen, read
from xdpdns.cli.demo import demo
from xdpdns.cli.dump import dump
from xdpdns.cli.machine import check, plan, status
from xdpdns.cli.push import push
from xdpdns.cli.replay import replay
from xdpdns.cli.report import report
from xdpdns.cli.sample import sample
from xdpdns.cli.top import top
from xdpdns.cli.types import variable
from xdpdns.errors import SettingsError, XdpdnsError


class Commands(click.Group):
    """The group: errors that a user can mend become one sentence and an exit code."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Also read the command's values from the configuration file, before its options are.

        Help is given whatever the file has.
        """
        name, command, rest = super().resolve_command(ctx, args)
        needless = ctx.resilient_parsing or name in WITHOUT_FILE or {"-h", "--help"} & {*rest}
        path = chosen(ctx)
        if name is not None and path is not None and not needless:
            file = read(path, self, only=name)
            if file.problems:
                raise SettingsError("\n".join(str(problem) for problem in file.problems))
            ctx.default_map = file.values
        if not needless and name != attach.name:  # which has a log for it
            for sentence in said_of_variables(ctx):
                click.echo(f"Warning: {sentence}", err=True)
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command: 0 done, 1 could not, 2 wrong usage."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            if error.option_name != "--config":
                raise
            text = "--config stands before the command: xdpdns --config FILE COMMAND."
            raise click.UsageError(text, error.ctx) from error
        except click.BadParameter as error:
            if error.ctx and error.param and (name := variable(error.ctx, error.param)):
                error.param_hint = name
            raise
        except SettingsError as error:
            raise click.UsageError(str(error)) from error
        except XdpdnsError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            # whoever read our output has enough of it
            sys.stderr.close()
            ctx.exit(1)
        except OSError as error:
            logging.getLogger("xdpdns").debug("Where it happened:", exc_info=True)
            raise click.ClickException(_refused(error)) from error


def _refused(error: OSError) -> str:
    """What the system did not let us do, in a sentence."""
    where = f"{error.filename}: " if error.filename is not None else ""
    ours = isinstance(error, PermissionError) and os.geteuid() != 0
    mend = "run as root" if ours else "the kernel log (`dmesg`) may say more"
    return f"{where}{error.strerror or error}: {mend}."


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from xdpdns.about import about

        click.echo(about())
        ctx.exit()


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "XDPDNS",
        "max_content_width": 100,
    },
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"The file of options, instead of {DEFAULT}: see `xdpdns config`.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Print the versions of xdpdns, its BPF program, the kernel and BCC.",
)
def main(config: Path | None) -> None:
    """Count the DNS queries that reach a nameserver, in the kernel, and serve them to Prometheus.

    An XDP program classifies every incoming packet and adds to a counter; nothing is copied to
    user space and no packet is changed. Start with `xdpdns check`, then `xdpdns attach eth0`.

    Exit codes: 0 done, 1 could not, 2 wrong usage, 75 an agent that is to be started anew.
    Options can also be set in the environment, as
    XDPDNS_ATTACH_MODE=generic, and in a file, as `mode = "generic"` below `[attach]`; the command
    line comes before the environment, and that before the file.
    """


for command in (
    check,
    attach,
    detach,
    status,
    plan,
    top,
    sample,
    dump,
    push,
    demo,
    replay,
    report,
    config,
    completion,
):
    main.add_command(command)
