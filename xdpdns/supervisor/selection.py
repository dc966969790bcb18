"""Which interfaces to count on: those named, and those that a pattern follows as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from xdpdns.errors import AttachError

LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class Selection:
    """What was asked for.

    `names` have to be there from the start. `patterns` (as of a shell: `eth*`) are followed: each
    interface that matches one, and none of `excluded`, as soon as it is up; the loopback only if it
    is named. `everything` has been asked for by --all, where nothing may be there at first.
    """

    names: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    everything: bool = False

    @classmethod
    def of(
        cls, arguments: Sequence[str], everything: bool = False, excluded: Sequence[str] = ()
    ) -> Selection:
        """Tell names and patterns apart."""
        patterns = [text for text in arguments if is_pattern(text)]
        return cls(
            names=tuple(text for text in arguments if not is_pattern(text)),
            patterns=(*patterns, *(["*"] if everything else [])),
            excluded=tuple(excluded),
            everything=everything,
        )

    @property
    def grows(self) -> bool:
        """Whether interfaces can join later."""
        return bool(self.patterns)

    def follows(self, name: str) -> bool:
        """Whether an interface that has this name is wanted by a pattern."""
        return (
            name != LOOPBACK
            and any(fnmatchcase(name, pattern) for pattern in self.patterns)
            and not any(fnmatchcase(name, pattern) for pattern in self.excluded)
        )

    def require_matches(self, names: Sequence[str]) -> None:
        """See that each pattern but --all's matches one of these names.

        Raises:
            AttachError: naming the first that doesn't.
        """
        for pattern in self.patterns[:-1] if self.everything else self.patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise AttachError(
                    f"no interface matches {pattern}: `ip -brief link` lists those there are; "
                    "`--all` waits for the first."
                )


def is_pattern(text: str) -> bool:
    """Whether it is a pattern: no interface's name has such characters in practice."""
    return any(character in text for character in "*?[")
