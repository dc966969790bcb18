"""Which rows are shown: `qtype=AAAA tld=nl,de do!=1`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter

from xdpdns import vocab
from xdpdns.errors import SettingsError
from xdpdns.suggest import did_you_mean

Labels = tuple[str, ...]

_ALIASES = {"type": "qtype", "family": "af", "transport": "proto"}
_UPPER = {"qtype", "rcode"}


@dataclass(frozen=True, slots=True)
class Condition:
    """The value of a label is one of some, or with `negated` none of them."""

    label: str
    values: frozenset[str]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold; without any, everything is shown. `text` is as typed."""

    conditions: tuple[Condition, ...] = ()
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def fits(self, dimensions: Sequence[str]) -> bool:
        """Whether rows of these dimensions have all the labels that are asked for."""
        return all(condition.label in dimensions for condition in self.conditions)

    def test(self, dimensions: Sequence[str]) -> Callable[[Labels], bool]:
        """A function that says whether a row is let through; the dimensions must fit()."""
        checks = [
            (itemgetter(dimensions.index(one.label)), one.values, one.negated)
            for one in self.conditions
        ]
        return lambda labels: all(
            (value(labels) in values) != negated for value, values, negated in checks
        )


def parse(text: str, dimensions: Sequence[str]) -> Filter:
    """A filter from what was typed; `dimensions` are all labels that there are.

    `LABEL=VALUE` with several values separated by commas, `!=` for none of them, several
    conditions separated by spaces. Types may be in any case, `type` is `qtype`.

    Raises:
        SettingsError: what can't be a condition, or a label, type or response code that there
            isn't.
    """
    conditions = []
    for word in text.split():
        label, equals, values = word.partition("=")
        negated = label.endswith("!")
        label = label.removesuffix("!").lower()
        label = _ALIASES.get(label, label)
        if not equals or not label:
            raise SettingsError(f"{word!r} is no condition: write LABEL=VALUE, such as qtype=AAAA.")
        if label not in dimensions:
            raise SettingsError(
                f"no label {label!r} is counted here: choose from {', '.join(dimensions)}."
            )
        for value in values.split(","):
            _check(label, _as_counted(label, value))
        chosen = frozenset(_as_counted(label, value) for value in values.split(","))
        conditions.append(Condition(label, chosen, negated))
    return Filter(tuple(conditions), " ".join(text.split()))


def _check(label: str, value: str) -> None:
    if label == "qtype":
        known = [*map(vocab.qtype_text, vocab.registered_qtypes()), vocab.OTHER]
        unknown = value not in known and not re.fullmatch(r"TYPE\d+", value)
    else:
        known = [*vocab.rcodes()]
        unknown = label == "rcode" and value not in known
    if unknown:
        meant = did_you_mean(value, known)
        raise SettingsError(f"there is no {label} {value}{f': {meant}' if meant else '.'}")


def _as_counted(label: str, value: str) -> str:
    """A value in the case that it is counted in; `~other` is always in lower case."""
    if label in _UPPER and not value.startswith("~"):
        return value.upper()
    return value.lower()
