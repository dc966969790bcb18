"""The command line: options to settings, and one command a function. Nothing else happens here.

A module for each group of commands; what they do is imported when a command runs.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from xdpdns import __version__
from xdpdns.cli.attach import attach, detach
from xdpdns.cli.demo import demo
from xdpdns.cli.machine import check, plan, status
from xdpdns.cli.replay import replay
from xdpdns.cli.report import report
from xdpdns.errors import SettingsError, XdpdnsError


class Commands(click.Group):
    """The group: errors that a user can mend become one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command: 0 done, 1 could not, 2 wrong usage."""
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            raise click.UsageError(str(error)) from error
        except XdpdnsError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            # whoever read our output has enough of it
            sys.stderr.close()
            ctx.exit(1)


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "auto_envvar_prefix": "XDPDNS",
        "max_content_width": 100,
    },
)
@click.version_option(__version__, prog_name="xdpdns")
def main() -> None:
    """Count the DNS queries that reach a nameserver, in the kernel, and serve them to Prometheus.

    An XDP program classifies every incoming packet and adds to a counter; nothing is copied to
    user space and no packet is changed. Start with `xdpdns check`, then `xdpdns attach eth0`.

    Exit codes: 0 done, 1 could not, 2 wrong usage. Options can also be set in the environment:
    XDPDNS_ATTACH_MODE=generic is `attach --mode generic`.
    """


for command in (check, attach, detach, status, plan, demo, replay, report):
    main.add_command(command)
