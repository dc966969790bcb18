"""`xdpdns completion`: what a shell needs to complete commands, options and their values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "xdpdns"


def script(root: click.Command, shell: str) -> str:
    """The script for one of SHELLS; it asks `xdpdns` itself what fits."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  click has all of SHELLS
    made = kind(root, {}, PROGRAM, f"_{PROGRAM.upper()}_COMPLETE")
    # source() would first run bash to see whether it is of this century
    return made.source_template % made.source_vars()


@click.command(short_help="Print the script of completion for a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options, interfaces and users.

    \b
    Examples:
      xdpdns completion bash > /etc/bash_completion.d/xdpdns
      xdpdns completion zsh > /usr/local/share/zsh/site-functions/_xdpdns
      xdpdns completion fish > ~/.config/fish/completions/xdpdns.fish
    """  # noqa: D301  \b is for click: keep these lines
    click.echo(script(ctx.find_root().command, shell))
