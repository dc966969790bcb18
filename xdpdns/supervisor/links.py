"""The interfaces as they were at one moment."""

from __future__ import annotations

from xdpdns.errors import AttachError
from xdpdns.hooks import Hooks, Link


class Links:
    """All interfaces of the namespace (`everything`), or each when it is asked for."""

    def __init__(self, hooks: Hooks, everything: bool) -> None:
        self._hooks = hooks
        self._all = hooks.links() if everything else None

    def all(self) -> list[Link]:
        """Everything; nothing if each is asked for."""
        return self._all or []

    def at(self, index: int) -> Link | None:
        """The one with an index; None for 0, and if there is none."""
        if self._all is None:
            return self._hooks.link_at(index) if index else None
        found = next((link for link in self._all if link.index == index), None)
        # A list that was made while interfaces came and went may lack one.
        return found or (self._hooks.link_at(index) if index else None)

    def called(self, name: str) -> Link | None:
        """The one of a name; None if there is none."""
        if self._all is None:
            try:
                return self._hooks.link(name)
            except AttachError:
                return None
        return next((link for link in self._all if link.name == name), None)
