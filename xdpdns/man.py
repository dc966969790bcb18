"""Manual pages of the commands, made of what `--help` is made of: `python -m xdpdns.man FOLDER`.

In man(7)'s macros, a page for the program and one for each command.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import click

from xdpdns import __version__
from xdpdns.cli import main
from xdpdns.cli.config_file import DEFAULT

_SECTIONS = f"""\
.SH EXIT STATUS
.TP
0
done
.TP
1
could not; the reason and its mend are on the standard error
.TP
2
wrong usage
.TP
75
an agent that is to be started anew, for new options
.SH ENVIRONMENT
.TP
.B XDPDNS_COMMAND_OPTION
Every option can be set by a variable that is named after its command and
itself, in capitals and with dots and dashes as underscores, such as
XDPDNS_ATTACH_MODE=generic.
Several values are parted by white space.
.TP
.B NO_COLOR
If it is set, no colours are used; they never are outside of a terminal.
.SH FILES
.TP
.I {DEFAULT}
Options in TOML: a table for each command, and in it the names of its options.
The command line and the environment come before it; see
.BR xdpdns\\-config\\-show (1).
"""
_WIDTH = 66
"""Of the source's lines, in characters; escapes make them longer."""


def pages() -> dict[str, str]:
    """All pages by the names of their files: `xdpdns.1`, `xdpdns-attach.1`, ..."""
    found = dict(_contexts(main, "xdpdns"))
    return {
        f"{name.replace(' ', '-')}.1": _page(name, ctx, [other for other in found if other != name])
        for name, ctx in found.items()
    }


def _contexts(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Context]]:
    ctx = click.Context(command, parent, info_name=name.split()[-1], **command.context_settings)
    yield name, ctx
    if isinstance(command, click.Group):
        for word, one in sorted(command.commands.items()):
            yield from _contexts(one, f"{name} {word}", ctx)


def _page(name: str, ctx: click.Context, others: list[str]) -> str:
    command = ctx.command
    title = name.replace(" ", "-")
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    summary = " ".join(paragraphs[0].split()).rstrip(".")
    lines = [
        f'.TH {escape(title).upper()} 1 "{_date()}" "xdpdns {__version__}" "User Commands"',
        ".SH NAME",
        f"{escape(title)} \\-",
        *_wrapped(summary[0].lower() + summary[1:]),
        ".SH SYNOPSIS",
        f".B {escape(name)}",
        *_wrapped(" ".join(command.collect_usage_pieces(ctx))),
        ".SH DESCRIPTION",
        *_description(paragraphs),
    ]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for word, one in sorted(command.commands.items()):
            lines += [".TP", f".BR {escape(title)}\\-{escape(word)} (1)"]
            lines += _wrapped(one.get_short_help_str(200))
    records = [
        record for param in command.get_params(ctx) if (record := param.get_help_record(ctx))
    ]
    lines.append(".SH OPTIONS")
    for flags, text in records:
        if text:
            lines += [".TP", f".B {escape(flags)}", *_wrapped(text)]
    lines += _examples(paragraphs)
    lines.append(_SECTIONS.rstrip("\n"))
    lines.append(".SH SEE ALSO")
    lines += [f".BR {escape(other.replace(' ', '-'))} (1)," for other in others]
    lines[-1] = lines[-1].rstrip(",")
    return "\n".join(lines) + "\n"


def _description(paragraphs: list[str]) -> list[str]:
    lines: list[str] = []
    for paragraph in paragraphs:
        if not paragraph.startswith("\b"):
            lines += [".PP"] * bool(lines) + _wrapped(paragraph)
    return lines


def _examples(paragraphs: list[str]) -> list[str]:
    """What `--help` shows line by line: click wants a backspace before it."""
    for paragraph in paragraphs:
        if paragraph.startswith("\b"):
            shown = paragraph.splitlines()[2:]
            return [".SH EXAMPLES", ".nf", *(escape(line.strip()) for line in shown), ".fi"]
    return []


def _wrapped(text: str) -> list[str]:
    """A paragraph, in which each sentence begins a line as man(7) wants it."""
    sentences = re.split(r"(?<=[.?!])\s+", " ".join(text.split()))
    wrap = textwrap.TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False).wrap
    return [escape(line) for sentence in sentences for line in wrap(sentence)]


def escape(text: str) -> str:
    """Text as roff shows it: no line is a request, and dashes can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("~", "\\(ti")
    text = text.replace("^", "\\(ha").replace("`", "\\(ga")
    return f"\\&{text}" if text.startswith(".") else text


def _date() -> str:
    """Today, or the day that a reproducible build has."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def write(folder: Path) -> list[Path]:
    """Write all pages into a folder, which is made if it isn't there."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, text in pages().items():
        path = folder / name
        path.write_text(text)
        made.append(path)
    return made


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m xdpdns.man FOLDER")
    write(Path(sys.argv[1]))
