"""The dashboard *DNS fleet*: many nameservers beside each other, such as the sites of an anycast.

It reads a few series of each interface, never the rows of queries, so that it stays quick for a
thousand instances; the last row of panels reads what deploy/prometheus/rules.yml records.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as dash

from grafana.parts import (
    FLEET,
    OVERVIEW,
    VARIABLES,
    Panel,
    board,
    graph,
    grid,
    link,
    number,
    section,
    series,
)
from grafana.promql import MALFORMED, MESSAGES, messages, outcomes, select, share, unanswered
from xdpdns import catalogue as c

TOTAL, EACH = messages("query"), messages("query", "instance")
WEEK, EACH_WEEK = messages("query", offset="1w"), messages("query", "instance", offset="1w")
ANSWERED = f"{messages('response', 'instance')} / {EACH}"


def _recorded_as(rule: str, **labels: str) -> str:
    """A selector of what a rule of deploy/prometheus/rules.yml records."""
    chosen = "".join(f',{name}=~"{value}"' for name, value in labels.items())
    return f'{rule}{{job=~"$job",instance=~"$instance"{chosen}}}'


def _recorded_share(rule: str, **labels: str) -> str:
    """The part with these labels as a share of the whole, by instance."""
    part, whole = _recorded_as(rule, **labels), _recorded_as(rule)
    return f"sum by (instance) ({part}) / sum by (instance) ({whole})"


def _opens(panel: Panel) -> Panel:
    """A click on an instance opens its queries."""
    url = (
        f"/d/{OVERVIEW}?{VARIABLES}&var-instance=${{__field.labels.instance}}&${{__url_time_range}}"
    )
    panel.data_links([link("Queries of this instance", url)])
    return panel


def fleet() -> dash.Dashboard:
    """Build it."""
    made = board(FLEET, "Rates of many nameservers, and how they differ.", since="now-24h")
    for part in (_whole, _instances, _answers, _recorded):
        part(made)
    return made


def _whole(made: dash.Dashboard) -> None:
    section(
        made,
        "The whole fleet",
        number(
            "Queries",
            "Queries a second over all instances.",
            series(TOTAL),
            unit="reqps",
            size="4x5",
        ),
        number(
            "Against last week",
            "The rate as a share of the rate a week ago, at the same hour of the same weekday.",
            series(f"{TOTAL} / {WEEK}"),
            unit="percentunit",
            steps=[(None, "red"), (0.5, "yellow"), (0.7, "green"), (1.5, "yellow"), (3, "red")],
            size="4x5",
            empty="no data of last week",
        ),
        number(
            "Agents that don't answer",
            "Agents that Prometheus could not scrape.",
            series('count(up{job=~"$job",instance=~"$instance"} == 0) or vector(0)'),
            unit="short",
            steps=[(None, "green"), (1, "red")],
            size="4x5",
        ),
        number(
            "Imbalance",
            "The busiest instance's rate as a multiple of the average. 1 is an even spread.",
            series(f"max({EACH}) / avg({EACH})"),
            unit="none",
            steps=[(None, "green"), (2, "yellow"), (4, "red")],
            size="4x5",
        ),
        number(
            "Interfaces not counted",
            "Interfaces whose packets aren't counted now.",
            series(f"count({select(c.UP)} == 0) or vector(0)"),
            unit="short",
            steps=[(None, "green"), (1, "red")],
            size="4x5",
        ),
        number(
            "Series of a scrape",
            "The most series that one agent exports: what the fleet costs in Prometheus.",
            series('max(scrape_samples_scraped{job=~"$job",instance=~"$instance"})'),
            unit="short",
            steps=[(None, "green"), (50000, "yellow"), (100000, "red")],
            size="4x5",
        ),
        graph(
            "The day against last week",
            "Queries a second now and a week before: the same curve on an ordinary day.",
            series(TOTAL, "now"),
            series(WEEK, "a week before", "B"),
            size="24x8",
        ),
    )


def _instances(made: dash.Dashboard) -> None:
    filled = f"max by (instance) ({select(c.MAP_ENTRIES)} / {select(c.MAP_MAX_ENTRIES)})"
    malformed = share(
        outcomes(f"~{MALFORMED}", "instance"), outcomes(f"~{MESSAGES}", "instance"), "instance"
    )
    tcp = share(outcomes("tcp", "instance"), outcomes(f"~tcp|{MESSAGES}", "instance"), "instance")
    panel = grid(
        "Every instance",
        "One row an instance, the busiest first.",
        [
            EACH,
            EACH,
            share(EACH, TOTAL),
            f"{EACH} / {EACH_WEEK}",
            malformed,
            tcp,
            filled,
            f"min by (instance) ({select(c.UP)})",
            ANSWERED,
            unanswered("instance"),
        ],
        [
            ("Queries", "reqps", ()),
            ("Share", "percentunit", ()),
            ("Against last week", "percentunit", [(None, "red"), (0.5, "green"), (2, "red")]),
            ("Malformed", "percentunit", [(None, "green"), (0.05, "red")]),
            ("TCP segments", "percentunit", [(None, "green"), (0.3, "red")]),
            ("Map fill", "percentunit", [(None, "green"), (0.8, "red")]),
            ("Counted", "bool_yes_no", [(None, "red"), (1, "green")]),
            ("Answers per query", "none", [(None, "red"), (0.8, "yellow"), (0.95, "green")]),
            ("Unanswered", "percentunit", [(None, "green"), (0.01, "yellow"), (0.05, "red")]),
        ],
        size="24x10",
        order=0,
    )
    url = (
        f"/d/{OVERVIEW}?{VARIABLES}&var-instance=${{__data.fields.instance}}&${{__url_time_range}}"
    )
    section(
        made,
        "Instances",
        _opens(
            graph(
                "Queries by instance",
                "Queries a second that each instance received.",
                series(EACH, "{{instance}}"),
                stack="normal",
            )
        ),
        _opens(
            graph(
                "Share of the traffic",
                "Each instance's share of all queries. A site that loses its share without a loss "
                "of the whole has lost a route.",
                series(share(EACH, TOTAL), "{{instance}}"),
                unit="percentunit",
                stack="normal",
                most=1,
            )
        ),
        _opens(
            graph(
                "Against last week",
                "Each instance's rate as a share of its own rate a week before.",
                series(f"{EACH} / {EACH_WEEK}", "{{instance}}"),
                unit="percentunit",
                size="8x8",
            )
        ),
        _opens(
            graph(
                "Malformed share",
                "Messages without exactly one whole question, as a share of the messages.",
                series(
                    share(
                        outcomes(f"~{MALFORMED}", "instance"),
                        outcomes(f"~{MESSAGES}", "instance"),
                        "instance",
                    ),
                    "{{instance}}",
                ),
                unit="percentunit",
                size="8x8",
                steps=[(None, "transparent"), (0.05, "red")],
            )
        ),
        graph(
            "Imbalance",
            "The busiest instance as a multiple of the average, and the spread: the standard "
            "deviation of the rates as a share of the average.",
            series(f"max({EACH}) / avg({EACH})", "busiest / average"),
            series(f"stddev({EACH}) / avg({EACH})", "spread", "B"),
            unit="none",
            size="8x8",
        ),
        panel.data_links([link("Queries of this instance", url)]),
    )


def _answers(made: dash.Dashboard) -> None:
    section(
        made,
        "Answers",
        _opens(
            graph(
                "Answers per query",
                "Responses for each query that came to an instance. One below the others drops "
                "queries: by rate limiting, by a full socket or on purpose.",
                series(ANSWERED, "{{instance}}"),
                unit="none",
            )
        ),
        _opens(
            graph(
                "Unanswered",
                "The share of each instance's timed queries that had no response within 8.6 s. "
                "Only with --latency-sample.",
                series(unanswered("instance"), "{{instance}}"),
                unit="percentunit",
                steps=[(None, "transparent"), (0.05, "red")],
            )
        ),
    )


def _recorded(made: dash.Dashboard) -> None:
    types = _recorded_as("instance_qtype:xdpdns_queries:rate5m")
    family, code = "instance_af:xdpdns_queries:rate5m", "instance_rcode:xdpdns_responses:rate5m"
    within = _recorded_as("instance:xdpdns_response_duration_seconds:p99_rate5m")
    section(
        made,
        "Recorded by deploy/prometheus/rules.yml",
        graph(
            "Types over the fleet",
            "The ten types that are asked for most, over all instances.",
            series(f"topk(10, sum by (qtype) ({types}))", "{{qtype}}"),
        ),
        _opens(
            graph(
                "IPv6 by instance",
                "The share of each instance's queries that came over IPv6.",
                series(_recorded_share(family, af="ipv6"), "{{instance}}"),
                unit="percentunit",
                most=1,
            )
        ),
        _opens(
            graph(
                "NXDOMAIN by instance",
                "The share of each instance's responses that say that the name does not exist. All "
                "sites of an anycast alike: names that don't exist are asked for everywhere; one "
                "alone: a client or an attack near it.",
                series(_recorded_share(code, rcode="NXDOMAIN"), "{{instance}}"),
                unit="percentunit",
                size="8x8",
            )
        ),
        _opens(
            graph(
                "Failures by instance",
                "The share of each instance's responses with SERVFAIL or REFUSED. One alone has "
                "lost a zone, or has an old one.",
                series(_recorded_share(code, rcode="SERVFAIL|REFUSED"), "{{instance}}"),
                unit="percentunit",
                size="8x8",
                steps=[(None, "transparent"), (0.05, "red")],
            )
        ),
        _opens(
            graph(
                "99 % within, by instance",
                "The time within which 99 of 100 timed queries of an instance were answered. Only "
                "with --latency-sample.",
                series(within, "{{instance}}"),
                unit="s",
                size="8x8",
            )
        ),
    )
