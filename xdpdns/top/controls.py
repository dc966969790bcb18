"""What the keys do: the state of the picture, changed by one key at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from xdpdns.top.tables import Base, Sort

_SORTS: tuple[Sort, ...] = ("rate", "name", "change")
_BASES: tuple[Base, ...] = ("average", "previous")


@dataclass(slots=True)
class Controls:
    """The choices of whoever looks.

    Attributes:
        interfaces: how many there are to switch between.
        selected: what is in `prompt` goes with the first character that is typed.
        apply: takes the text of a filter, and returns what is wrong with it, or nothing.
    """

    interfaces: int
    apply: Callable[[str], str]
    shown: int = 0
    totals: bool = False
    sort: Sort = "rate"
    base: Base = "average"
    alone: int = 0
    frozen: bool = False
    help: bool = False
    prompt: str | None = None
    selected: bool = False
    filter: str = ""
    notice: str = ""
    done: bool = False

    def press(self, key: str) -> None:
        """One key: a character, or one of the names that keys() gives."""
        if self.prompt is not None:
            self._type(self.prompt, key)
            return
        self.notice = ""
        if key in ("q", "Q"):
            self.done = True
        elif self.help or key in ("?", "h"):
            self.help = not self.help
        elif key in ("tab", "shift-tab"):
            self.shown = (self.shown + (1 if key == "tab" else -1)) % self.interfaces
            self.frozen = False
        elif key == "t":
            self.totals = not self.totals
        elif key == "s":
            self.sort = _SORTS[(_SORTS.index(self.sort) + 1) % len(_SORTS)]
        elif key == "c":
            self.base = _BASES[(_BASES.index(self.base) + 1) % len(_BASES)]
        elif key == "/":
            self.prompt, self.selected = self.filter, bool(self.filter)
        elif key in (" ", "f"):
            self.frozen = not self.frozen
        elif key == "escape":
            self.alone, self.frozen = 0, False
        elif key in ("right", "left"):
            self.alone += 1 if key == "right" else -1
        elif key.isdecimal():
            number = int(key)
            self.alone = 0 if number == self.alone else number

    def _type(self, typed: str, key: str) -> None:
        """A key of the filter; the first character replaces the old one, Backspace edits it."""
        selected, self.selected = self.selected, False
        if key == "enter":
            self.notice = self.apply(typed)
            if not self.notice:
                self.filter, self.prompt = typed.strip(), None
        elif key == "escape":
            self.prompt, self.notice = None, ""
        elif key == "backspace":
            self.prompt = typed[:-1]
        elif key == "clear":
            self.prompt = ""
        elif len(key) == 1:
            self.prompt = key if selected else typed + key


_KEYS = {
    "\t": "tab",
    "\r": "enter",
    "\n": "enter",
    "\x1b": "escape",
    "\x7f": "backspace",
    "\b": "backspace",
    "\x15": "clear",  # Ctrl-U
}
_SEQUENCES = {"[Z": "shift-tab", **dict.fromkeys(("[C", "OC"), "right")}
_SEQUENCES |= dict.fromkeys(("[D", "OD"), "left")


def keys(typed: str) -> list[str]:
    """The keys that a terminal sent: names for some, nothing for those that we don't know."""
    found = []
    at = 0
    while at < len(typed):
        char = typed[at]
        at += 1
        if char == "\x1b" and typed[at : at + 1] in ("[", "O"):
            # ECMA-48 5.4: parameters and intermediates up to a final byte
            end = at + 1
            while end < len(typed) and not "@" <= typed[end] <= "~":
                end += 1
            if name := _SEQUENCES.get(typed[at : end + 1]):
                found.append(name)
            at = end + 1
        elif char in _KEYS:
            found.append(_KEYS[char])
        elif char.isprintable():
            found.append(char)
    return found
