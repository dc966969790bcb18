"""The dashboard *DNS fleet*: many nameservers beside each other, such as the sites of an anycast.

It reads a few series of each interface, never the rows of queries, so that it stays quick for a
thousand instances; the last row of panels reads what deploy/prometheus/rules.yml records.
"""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as dash

from grafana.parts import (
    FLEET,
    MALFORMED,
    MESSAGES,
    OVERVIEW,
    PLACE,
    VARIABLES,
    Panel,
    board,
    graph,
    grid,
    link,
    number,
    outcomes,
    rate,
    select,
    series,
    share,
)
from xdpdns import catalogue as c

QUERY = select(c.PACKETS, outcome="query")
TOTAL, EACH = rate(QUERY), rate(QUERY, "instance")
WEEK, EACH_WEEK = rate(QUERY, offset="1w"), rate(QUERY, "instance", offset="1w")
RECORDED = '{job=~"$job",instance=~"$instance"}'


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
    for part in (_whole, _instances, _recorded):
        part(made)
    return made


def _whole(made: dash.Dashboard) -> None:
    made.with_row(dash.Row("The whole fleet"))
    made.with_panel(
        number(
            "Queries",
            "Queries a second over all instances.",
            series(TOTAL),
            unit="reqps",
            size="4x5",
        )
    )
    made.with_panel(
        number(
            "Against last week",
            "The rate as a share of the rate a week ago, at the same hour of the same weekday.",
            series(f"{TOTAL} / {WEEK}"),
            unit="percentunit",
            steps=[(None, "red"), (0.5, "yellow"), (0.7, "green"), (1.5, "yellow"), (3, "red")],
            size="4x5",
            empty="no data of last week",
        )
    )
    made.with_panel(
        number(
            "Agents that don't answer",
            "Agents that Prometheus could not scrape.",
            series('count(up{job=~"$job",instance=~"$instance"} == 0) or vector(0)'),
            unit="short",
            steps=[(None, "green"), (1, "red")],
            size="4x5",
        )
    )
    made.with_panel(
        number(
            "Imbalance",
            "The busiest instance's rate as a multiple of the average. 1 is an even spread.",
            series(f"max({EACH}) / avg({EACH})"),
            unit="none",
            steps=[(None, "green"), (2, "yellow"), (4, "red")],
            size="4x5",
        )
    )
    made.with_panel(
        number(
            "Interfaces not counted",
            "Interfaces whose packets aren't counted now.",
            series(f"count({select(c.UP)} == 0) or vector(0)"),
            unit="short",
            steps=[(None, "green"), (1, "red")],
            size="4x5",
        )
    )
    made.with_panel(
        number(
            "Series of a scrape",
            "The most series that one agent exports: what the fleet costs in Prometheus.",
            series('max(scrape_samples_scraped{job=~"$job",instance=~"$instance"})'),
            unit="short",
            steps=[(None, "green"), (50000, "yellow"), (100000, "red")],
            size="4x5",
        )
    )
    made.with_panel(
        graph(
            "The day against last week",
            "Queries a second now and a week before: the same curve on an ordinary day.",
            series(TOTAL, "now"),
            series(WEEK, "a week before", "B"),
            size="24x8",
        )
    )


def _instances(made: dash.Dashboard) -> None:
    made.with_row(dash.Row("Instances"))
    made.with_panel(
        _opens(
            graph(
                "Queries by instance",
                "Queries a second that each instance received.",
                series(EACH, "{{instance}}"),
                stack="normal",
            )
        )
    )
    made.with_panel(
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
        )
    )
    made.with_panel(
        _opens(
            graph(
                "Against last week",
                "Each instance's rate as a share of its own rate a week before.",
                series(f"{EACH} / {EACH_WEEK}", "{{instance}}"),
                unit="percentunit",
                size="8x8",
            )
        )
    )
    made.with_panel(
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
        )
    )
    made.with_panel(
        graph(
            "Imbalance",
            "The busiest instance as a multiple of the average, and the spread: the standard "
            "deviation of the rates as a share of the average.",
            series(f"max({EACH}) / avg({EACH})", "busiest / average"),
            series(f"stddev({EACH}) / avg({EACH})", "spread", "B"),
            unit="none",
            size="8x8",
        )
    )
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
        ],
        [
            ("Queries", "reqps", ()),
            ("Share", "percentunit", ()),
            ("Against last week", "percentunit", [(None, "red"), (0.5, "green"), (2, "red")]),
            ("Malformed", "percentunit", [(None, "green"), (0.05, "red")]),
            ("TCP segments", "percentunit", [(None, "green"), (0.3, "red")]),
            ("Map fill", "percentunit", [(None, "green"), (0.8, "red")]),
            ("Counted", "bool_yes_no", [(None, "red"), (1, "green")]),
        ],
        size="24x10",
        order=0,
    )
    url = (
        f"/d/{OVERVIEW}?{VARIABLES}&var-instance=${{__data.fields.instance}}&${{__url_time_range}}"
    )
    made.with_panel(panel.data_links([link("Queries of this instance", url)]))


def _recorded(made: dash.Dashboard) -> None:
    made.with_row(dash.Row("Recorded by deploy/prometheus/rules.yml"))
    made.with_panel(
        graph(
            "Types over the fleet",
            "The ten types that are asked for most, over all instances.",
            series(
                f"topk(10, sum by (qtype) (instance_qtype:xdpdns_queries:rate5m{RECORDED}))",
                "{{qtype}}",
            ),
        )
    )
    panel = graph(
        "IPv6 by instance",
        "The share of each instance's queries that came over IPv6.",
        series(
            'sum by (instance) (instance_af:xdpdns_queries:rate5m{af="ipv6",job=~"$job",'
            'instance=~"$instance"}) / '
            f"sum by (instance) (instance_af:xdpdns_queries:rate5m{RECORDED})",
            "{{instance}}",
        ),
        unit="percentunit",
        most=1,
    )
    made.with_panel(_opens(panel).links([link("Queries", f"/d/{OVERVIEW}?{PLACE}")]))
