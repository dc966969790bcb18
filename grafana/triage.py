"""The dashboard *DNS triage*: what differs from an hour and a day ago, the largest change first."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard

from grafana.parts import TRIAGE, Column, board, graph, grid, series
from grafana.promql import messages, outcomes, rate, select
from xdpdns import catalogue as c

WINDOW = "$window"
COLUMNS: Sequence[Column] = [
    ("Now", "short", ()),
    ("1 h ago", "short", ()),
    ("1 d ago", "short", ()),
    ("Against 1 h ago", "short", [(None, "blue"), (0, "text"), (1, "orange")]),
    ("Against 1 d ago", "short", [(None, "blue"), (0, "text"), (1, "orange")]),
]


def _changes(title: str, text: str, label: str) -> table.Panel:
    """A row for each value of the label: the rates at three times, and their differences."""

    def at(offset: str = "") -> str:
        if label == "outcome":
            return outcomes(by=label, window=WINDOW, offset=offset)
        if label == "instance":
            return messages("query", label, window=WINDOW, offset=offset)
        counted = c.RESPONSES if label == "rcode" else c.QUERIES
        return rate(select(counted), label, window=WINDOW, offset=offset)

    def or_zero(rates: str, *others: str) -> str:
        """What was not seen then was 0, if it was seen at another of the times."""
        return " or ".join((rates, *(f"0 * {other}" for other in others)))

    now, hour, day = at(), at("1h"), at("1d")
    since_hour = f"({or_zero(now, hour, day)}) - ({or_zero(hour, now, day)})"
    since_day = f"({or_zero(now, hour, day)}) - ({or_zero(day, now, hour)})"
    chosen = f"({or_zero(now, at('$against'))}) - ({or_zero(at('$against'), now)})"
    panel = grid(
        title,
        text,
        [
            or_zero(now, hour, day),
            or_zero(hour, now, day),
            or_zero(day, now, hour),
            since_hour,
            since_day,
            f"abs({chosen})",
        ],
        COLUMNS,
        size="12x12",
        order=5,
    )
    # wide enough for question_truncated
    panel.override_by_name(label, [dashboard.DynamicConfigValue("custom.width", 170)])
    return panel


def triage() -> dash.Dashboard:
    """Build it."""
    made = board(
        TRIAGE,
        "What changed: rates now, an hour ago and a day ago; ordered by the size of the change.",
        since="now-3h",
    )
    made.with_variable(
        dash.CustomVariable("window")
        .label("Averaged over")
        .description("The rates are averages over this time: longer is calmer.")
        .values("2m,5m,15m,1h")
        .current(_option("5m"))
    )
    made.with_variable(
        dash.CustomVariable("against")
        .label("Order by the change since")
        .description("Which difference orders the tables.")
        .values("1h,1d")
        .current(_option("1h"))
    )
    made.with_panel(
        graph(
            "Queries, now and before",
            "Queries a second: now, an hour before and a day before.",
            *(
                series(messages("query", offset=offset), legend, ref)
                for ref, offset, legend in (
                    ("A", "", "now"),
                    ("B", "1h", "1 h before"),
                    ("C", "1d", "1 d before"),
                )
            ),
            size="24x7",
        )
    )
    for title, text, label in (
        (
            "By type",
            "Queries a second of each type. One type that grows alone is a reflection attack "
            "(ANY, TXT, DNSKEY), a new client or a broken one.",
            "qtype",
        ),
        (
            "By top-level domain",
            "Queries a second for each TLD. One TLD that grows alone is often a random-subdomain "
            "attack on a zone below it; ~other that grows is noise or a leak.",
            "tld",
        ),
        (
            "By EDNS size",
            "Queries a second for each size that clients offer. A change here is a change of the "
            "clients: an update of resolver software, or a tool that sends an attack.",
            "edns",
        ),
        (
            "By outcome",
            "Packets a second of each outcome, in the queries' direction. What grows beside "
            "`query` was not a whole query: tcp after truncated answers, fragment and name_* in "
            "attacks.",
            "outcome",
        ),
        (
            "By response code",
            "Responses a second of each code. NXDOMAIN that grows alone is a random-subdomain "
            "attack or a leak; SERVFAIL a zone or an upstream that has failed; REFUSED a stranger, "
            "or a zone that is not served here any more.",
            "rcode",
        ),
        (
            "By instance",
            "Queries a second of each instance. One that falls while another rises has lost a "
            "route; one that falls alone is cut off.",
            "instance",
        ),
    ):
        made.with_panel(_changes(title, text, label))
    return made


def _option(value: str) -> dashboard.VariableOption:
    return dashboard.VariableOption(text=value, value=value, selected=True)
