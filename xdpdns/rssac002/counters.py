"""The measures of a UTC day from running counters: the difference of two readings at midnight.

A reading is kept in a file until the next midnight. Nothing is subtracted from counters that began
again: a program's maps have ids that the kernel gives out once between two boots.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from pathlib import Path

from xdpdns.dump.files import replace_file
from xdpdns.errors import XdpdnsError
from xdpdns.rssac002.measures import Measures, added, between, measure
from xdpdns.running import exchange, not_running, programs

SLACK = timedelta(minutes=10)
"""So long after midnight a reading may come; the day's files have that much of the next day."""

_FORM = 1


class ReportError(XdpdnsError):
    """A day can't be told from these counters."""


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface's counters: the ids of the maps that they are in, and what they say."""

    maps: tuple[int, ...]
    measures: Measures


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of some interfaces at one moment, in seconds since 1970 UTC."""

    time: float
    boot: str
    interfaces: dict[str, Interface]

    @property
    def moment(self) -> datetime:
        """When it was made, in UTC."""
        return datetime.fromtimestamp(self.time, UTC)


def read(names: Iterable[str]) -> Reading:
    """Read what counts on these interfaces of the calling thread's network namespace.

    Raises:
        NotRunningError: no program for queries or none for responses is there.
        UnreadableError: this xdpdns can't read it, or the rows lack a label.
        AttachError: there is no such interface.
        MissingNeedError: not root.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Reading(time.time(), boot, {name: _interface(name) for name in dict.fromkeys(names)})


def _interface(name: str) -> Interface:
    with ExitStack() as stack:
        found = [stack.enter_context(program) for program in programs(name)]
        sides = exchange(found)
        if "queries" not in sides:
            raise not_running(name)
        if "responses" not in sides:
            raise ReportError(
                f"the xdpdns on {name} counts no responses, which RSSAC002 wants: start it without "
                "--no-responses."
            )
        chosen = sides["queries"], sides["responses"]
        maps = tuple(program.meta.maps["counters"] for program in chosen)
        return Interface(maps, measure(*(program.snapshot() for program in chosen)))


def day_begun(moment: datetime) -> date:
    """The day whose first minutes these are.

    Raises:
        ReportError: it is later in the day.
    """
    if moment - moment.replace(hour=0, minute=0, second=0, microsecond=0) > SLACK:
        raise ReportError(
            f"it is {moment:%H:%M} UTC, and a day's counters are read within "
            f"{SLACK.seconds // 60} minutes after midnight: have a timer run this at 00:00 UTC."
        )
    return moment.date()


def day(before: Reading, after: Reading) -> tuple[date, Measures]:
    """The day between two readings at midnight, all interfaces together.

    Raises:
        ReportError: they are not a day apart, not of the same interfaces, or counters began again.
    """
    began = before.moment.date()
    if after.moment.date() - began != timedelta(days=1):
        raise ReportError(
            f"the last reading is of {began}, not of the day before: a day is reported from the "
            "next midnight on, if this runs every midnight."
        )
    if before.interfaces.keys() != after.interfaces.keys():
        raise ReportError(
            f"{began} began with {', '.join(before.interfaces)}, and ended with "
            f"{', '.join(after.interfaces)}: keep a --state file for each set of interfaces."
        )
    counted = []
    for name, now in after.interfaces.items():
        then = before.interfaces[name]
        same = then.maps == now.maps and before.boot == after.boot
        made = between(then.measures, now.measures) if same else None
        if made is None:
            raise ReportError(
                f"the counters of {name} began again on {began}, which can't be reported: "
                "`attach --keep` carries them over a restart."
            )
        counted.append(made)
    return began, reduce(added, counted)


def save(path: Path, reading: Reading) -> None:
    """Put a reading into a file, in place of the one before.

    Raises:
        WriteError: what the system said.
    """
    replace_file(path, json.dumps({"form": _FORM, **asdict(reading)}).encode() + b"\n")


def load(path: Path) -> Reading | None:
    """The reading that a file keeps; None where there is no file.

    Raises:
        ReportError: it can't be read, or is something else.
    """
    try:
        found = json.loads(path.read_bytes())
        if found["form"] != _FORM:
            raise ValueError(found["form"])
        interfaces = {
            name: Interface(tuple(one["maps"]), one["measures"])
            for name, one in found["interfaces"].items()
        }
        return Reading(float(found["time"]), found["boot"], interfaces)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ReportError(
            f"{path} can't be read ({error.strerror}): choose another --state."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReportError(
            f"{path} is no state of this command: choose another --state, or remove it."
        ) from error
