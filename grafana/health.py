"""The last row of *DNS queries*: whether the agents count, and what that takes."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as dash

from grafana.parts import graph, grid, section, series
from grafana.promql import WINDOW, rate, select
from xdpdns import catalogue as c

FILL = f"{select(c.MAP_ENTRIES)} / {select(c.MAP_MAX_ENTRIES)}"
"""The entries of each map as a share of what it holds."""


def health(made: dash.Dashboard) -> None:
    """Add it."""
    section(
        made,
        "The agents",
        grid(
            "Interfaces",
            "Each program of each interface: 1 if its packets are counted; the hook (native in the "
            "driver, generic behind it, tcx ...); the program's id for bpftool.",
            [
                f"{select(c.INTERFACE)} * on (job, instance, interface) group_left () "
                f"{select(c.UP)} or on (job, instance, interface) {select(c.UP)}",
            ],
            [("Counted", "bool_yes_no", [(None, "red"), (1, "green")])],
            size="12x6",
            hide=["__name__", "job"],
        ),
        grid(
            "Not counted, and why",
            "Interfaces whose packets aren't counted: absent, down, replaced or occupied (another "
            "program has the hook), detached or refused. Empty when all is well.",
            [select(c.DOWN)],
            [("", "none", ())],
            size="12x6",
            hide=["__name__", "job", "Value"],
        ),
        graph(
            "Entries in the maps",
            "Rows in use as a share of what the map can hold. It never falls while the agent runs.",
            series(FILL, "{{instance}} {{interface}} {{direction}} {{map}}"),
            unit="percentunit",
            size="8x8",
            most=1,
            steps=[(None, "transparent"), (0.8, "red")],
        ),
        graph(
            "Without a row of their own",
            "Messages whose TLD was folded into ~other since the map was full, and messages that "
            "are in no row at all. Both are 0 unless --max-series is too low.",
            series(rate(select(c.FOLDED)), "folded into ~other"),
            series(rate(select(c.OVERFLOW), "reason"), "in no row: {{reason}}", "B"),
            size="8x8",
        ),
        graph(
            "Cost of a packet",
            "Time in the program for each packet, by the kernel's clock; only with "
            "--program-stats or kernel.bpf_stats_enabled=1.",
            series(
                f"{rate(select(c.RUN_SECONDS), 'instance, interface, direction')} / "
                f"{rate(select(c.RUNS), 'instance, interface, direction')}",
                "{{instance}} {{interface}} {{direction}}",
            ),
            unit="s",
            size="8x8",
        ),
        graph(
            "A CPU's time in the programs",
            "The share of one CPU that the programs take; only with --program-stats or "
            "kernel.bpf_stats_enabled=1.",
            series(
                rate(select(c.RUN_SECONDS), "instance, interface"), "{{instance}} {{interface}}"
            ),
            unit="percentunit",
            size="8x8",
        ),
        graph(
            "Duration of a scrape",
            "Seconds that the agent took to read the maps and write the text. Keep it far below "
            "the scrape's timeout.",
            series(select(c.SCRAPE_SECONDS), "{{instance}}"),
            unit="s",
            size="8x8",
            steps=[(None, "transparent"), (5, "red")],
        ),
        graph(
            "Failed parts of scrapes",
            "Parts of a scrape that failed and are missing from it; the agent's log says why.",
            series(
                f"sum (increase({select(c.ERRORS)}[{WINDOW}])) or vector(0)",
                "failures",
            ),
            unit="short",
            size="8x8",
            steps=[(None, "transparent"), (1, "red")],
        ),
        graph(
            "The agent's memory",
            "Resident memory of the agents' processes; the kernel's maps are not in it.",
            series(
                'process_resident_memory_bytes{job=~"$job",instance=~"$instance"}', "{{instance}}"
            ),
            unit="bytes",
            size="12x8",
        ),
        graph(
            "The agent's CPU",
            "The share of one CPU that the agents' processes take, nearly all of it for scrapes.",
            series(
                'sum by (instance) (rate(process_cpu_seconds_total{job=~"$job",'
                f'instance=~"$instance"}}[{WINDOW}]))',
                "{{instance}}",
            ),
            unit="percentunit",
            size="12x8",
        ),
    )
