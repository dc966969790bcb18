"""The dashboard *DNS queries*: what reaches the nameservers, and whether the agents are well."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as dash

from grafana.parts import (
    MALFORMED,
    MESSAGES,
    OVERVIEW,
    WINDOW,
    bars,
    board,
    graph,
    grid,
    heat,
    increase,
    instant,
    number,
    outcomes,
    rate,
    segments,
    select,
    series,
    share,
)
from xdpdns import catalogue as c

QUERIES = rate(select(c.PACKETS, outcome="query"))
FILL = f"{select(c.MAP_ENTRIES)} / {select(c.MAP_MAX_ENTRIES)}"
COST = f"{rate(select(c.RUN_SECONDS))} / {rate(select(c.RUNS))}"
# The ten largest of the whole time range, so that the choice doesn't change from point to point.
TOP = "and topk(10, sum by ({by}) (rate({of}[$__range] @ end())))"


def _queries_with(**labels: str) -> str:
    """The share of the queries with these labels; 0 if there never was one."""
    return share(f"({rate(select(c.QUERIES, **labels))} or vector(0))", rate(select(c.QUERIES)))


def overview() -> dash.Dashboard:
    """Build it."""
    made = board(
        OVERVIEW,
        "Every DNS query that reached these nameservers, counted in the kernel by xdpdns.",
        since="now-3h",
    )
    for part in (_glance, _features, _packets, _shapes, _health):
        part(made)
    return made


def _glance(made: dash.Dashboard) -> None:
    made.with_row(dash.Row("At a glance"))
    made.with_panel(
        number(
            "Queries",
            "Whole DNS queries a second, over UDP, on the chosen interfaces.",
            series(QUERIES),
            unit="reqps",
        )
    )
    made.with_panel(
        number(
            "Over IPv6",
            "The share of the queries that came over IPv6.",
            series(_queries_with(af="ipv6")),
            unit="percentunit",
        )
    )
    made.with_panel(
        number(
            "DNSSEC wanted",
            "The share of the queries with the DO bit: their answers carry signatures.",
            series(_queries_with(do="1")),
            unit="percentunit",
        )
    )
    made.with_panel(
        number(
            "Malformed",
            "Messages to a DNS port over UDP without exactly one whole question, as a share of all "
            "messages there. A few per mille are normal; more is a scanner, an attack or a bug.",
            series(share(outcomes(f"~{MALFORMED}"), outcomes(f"~{MESSAGES}"))),
            unit="percentunit",
            steps=[(None, "green"), (0.01, "yellow"), (0.05, "red")],
        )
    )
    made.with_panel(
        number(
            "In no row",
            "Messages of this time range that are counted, but in no row, since a map was full. "
            "Raise --max-series, or leave out a dimension with --labels.",
            instant(increase(select(c.OVERFLOW))),
            unit="short",
            steps=[(None, "green"), (1, "red")],
        )
    )
    made.with_panel(
        number(
            "Not counted",
            "Interfaces whose packets aren't counted now; the table of interfaces below says why.",
            series(f"count({select(c.UP)} == 0) or vector(0)"),
            unit="short",
            steps=[(None, "green"), (1, "red")],
        )
    )
    made.with_panel(
        number(
            "Map fill",
            "The fullest map's entries as a share of --max-series. Above 80 % soon new TLDs "
            "can't get rows of their own.",
            series(f"max({FILL})"),
            unit="percentunit",
            steps=[(None, "green"), (0.7, "yellow"), (0.9, "red")],
            course=False,
        )
    )
    made.with_panel(
        number(
            "Cost of a packet",
            "What the kernel spends in the program for each packet, by its own clock. Taken only "
            "with --program-stats or kernel.bpf_stats_enabled=1, which itself costs 20 to 40 ns.",
            series(COST),
            unit="s",
            steps=[(None, "green"), (2e-6, "yellow"), (10e-6, "red")],
            empty="--program-stats",
        )
    )


def _features(made: dash.Dashboard) -> None:
    every = select(c.QUERIES)
    made.with_row(dash.Row("Queries by their features"))
    made.with_panel(
        graph(
            "Queries by family and transport",
            "Queries a second over IPv4 and IPv6.",
            series(rate(every, "af, proto"), "{{af}} {{proto}}"),
            stack="normal",
        )
    )
    made.with_panel(
        graph(
            "Header bits",
            "Shares of the queries with the DO bit (DNSSEC records wanted), with AD (the client "
            "understands AD in an answer) and with QR (answers that came where queries should: "
            "spoofed or misdirected; normally none).",
            *(
                series(_queries_with(**{name: "1"}), name.upper(), ref)
                for name, ref in (("do", "A"), ("ad", "B"), ("qr", "C"))
            ),
            unit="percentunit",
            most=1,
        )
    )
    made.with_panel(
        graph(
            "Query types",
            "The ten most asked types of the time range.",
            series(
                f"{rate(every, 'qtype')} {TOP.format(by='qtype', of=every)}",
                "{{qtype}}",
            ),
            stack="normal",
        )
    )
    made.with_panel(
        graph(
            "EDNS sizes",
            "Shares of the response sizes that clients offer. 1232 is what DNS flag day 2020 asks "
            "for; answers over 1400 may be fragmented; no_edns: 512 bytes and no DNSSEC.",
            series(rate(every, "edns"), "{{edns}}"),
            stack="percent",
        )
    )
    made.with_panel(
        graph(
            "Top-level domains",
            "The ten TLDs of the time range that are asked for most. ~other is every label that "
            "is not on the list of --tlds.",
            series(f"{rate(every, 'tld')} {TOP.format(by='tld', of=every)}", "{{tld}}"),
            stack="normal",
        )
    )
    made.with_panel(
        bars(
            "Top TLDs",
            "The twenty TLDs that were asked for most, over the whole time range.",
            instant(f"sort_desc(topk(20, {rate(every, 'tld', window='$__range')}))", "{{tld}}"),
            size="6x8",
        )
    )
    made.with_panel(
        bars(
            "Top types",
            "The twenty types that were asked for most, over the whole time range.",
            instant(f"sort_desc(topk(20, {rate(every, 'qtype', window='$__range')}))", "{{qtype}}"),
            size="6x8",
        )
    )


def _packets(made: dash.Dashboard) -> None:
    messages = outcomes(f"~{MESSAGES}")
    made.with_row(dash.Row("Packets"))
    made.with_panel(
        graph(
            "Packets by outcome",
            "Every packet of the queries' direction has exactly one outcome; what they mean is in "
            "the README. The scale is logarithmic: a few odd packets show beside many queries.",
            series(outcomes(by="outcome") + " > 0", "{{outcome}}"),
            unit="pps",
            log=True,
        )
    )
    made.with_panel(
        graph(
            "Malformed messages",
            "Messages to a DNS port that are no whole question, by what is wrong with them, as "
            "shares of all messages there.",
            series(share(outcomes(f"~{MALFORMED}", "outcome"), messages), "{{outcome}}"),
            unit="percentunit",
            steps=[(None, "transparent"), (0.05, "red")],
        )
    )
    made.with_panel(
        graph(
            "TCP",
            "TCP segments to a DNS port, as a share of these and the UDP messages. One query over "
            "TCP takes about five segments. A rise follows truncated answers or rate limiting.",
            series(share(outcomes("tcp"), outcomes(f"~tcp|{MESSAGES}")), "TCP segments"),
            unit="percentunit",
            size="8x8",
            steps=[(None, "transparent"), (0.3, "red")],
        )
    )
    made.with_panel(
        graph(
            "TCP segments",
            "Segments to a DNS port by what they are. Only syn is a flood; partial and "
            "continuation hold messages that are too large for one segment.",
            series(segments() + " > 0", "{{segment}}"),
            unit="pps",
            size="8x8",
        )
    )
    made.with_panel(
        graph(
            "Opcodes other than QUERY",
            "NOTIFY and UPDATE belong to zone maintenance; from strangers they are probes.",
            series(rate(select(c.OPCODES, opcode="!QUERY"), "opcode") + " > 0", "{{opcode}}"),
            size="8x8",
        )
    )
    made.with_panel(
        graph(
            "Header flags",
            "Shares of the messages with a whole header in which a bit is set. RD towards an "
            "authoritative server, or Z, AA, TC and RA in a query, point to odd clients.",
            series(
                share(rate(select(c.FLAGS), "flag"), rate(select(c.OPCODES))),
                "{{flag}}",
            ),
            unit="percentunit",
            size="8x8",
            most=1,
        )
    )


def _shapes(made: dash.Dashboard) -> None:
    made.with_row(dash.Row("Sizes, names, classes"))
    for title, text, metric, axis in (
        (
            "Query sizes",
            "Queries by their size as DNS messages. Many large ones are padding, long names "
            "or an attempt to amplify.",
            c.SIZE,
            "decbytes",
        ),
        (
            "Name lengths",
            "Queries by the length of the name on the wire. A band of long names is often "
            "a random-subdomain attack or a tunnel.",
            c.NAME_LENGTH,
            "decbytes",
        ),
        (
            "Labels in a name",
            "Queries by the number of labels in the name; 34 is a whole IPv6 address under "
            "ip6.arpa.",
            c.NAME_LABELS,
            "none",
        ),
    ):
        buckets = increase(select(metric, "_bucket"), "le", window=WINDOW)
        made.with_panel(heat(title, text, series(buckets, "{{le}}"), axis=axis))
    made.with_panel(
        graph(
            "Average size and name length",
            "Bytes of a query and of its name, on average.",
            *(
                series(
                    f"{rate(select(metric, '_sum'))} / {rate(select(metric, '_count'))}",
                    legend,
                    ref,
                )
                for metric, legend, ref in ((c.SIZE, "query", "A"), (c.NAME_LENGTH, "name", "B"))
            ),
            unit="decbytes",
            size="8x8",
        )
    )
    made.with_panel(
        graph(
            "EDNS versions",
            "Queries by the version in their OPT record; anything but 0 is a probe.",
            series(rate(select(c.EDNS_VERSIONS), "version") + " > 0", "{{version}}"),
            size="8x8",
        )
    )
    made.with_panel(
        graph(
            "Classes other than IN",
            "CH asks for version.bind and the like; ANY and NONE have no place in a query.",
            series(rate(select(c.CLASSES, qclass="!IN"), "qclass") + " > 0", "{{qclass}}"),
            size="8x8",
        )
    )


def _health(made: dash.Dashboard) -> None:
    made.with_row(dash.Row("The agents"))
    made.with_panel(
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
        )
    )
    made.with_panel(
        grid(
            "Not counted, and why",
            "Interfaces whose packets aren't counted: absent, down, replaced or occupied (another "
            "program has the hook), detached or refused. Empty when all is well.",
            [select(c.DOWN)],
            [("", "none", ())],
            size="12x6",
            hide=["__name__", "job", "Value"],
        )
    )
    made.with_panel(
        graph(
            "Entries in the maps",
            "Rows in use as a share of what the map can hold. It never falls while the agent runs.",
            series(FILL, "{{instance}} {{interface}} {{direction}} {{map}}"),
            unit="percentunit",
            size="8x8",
            most=1,
            steps=[(None, "transparent"), (0.8, "red")],
        )
    )
    made.with_panel(
        graph(
            "Without a row of their own",
            "Messages whose TLD was folded into ~other since the map was full, and messages that "
            "are in no row at all. Both are 0 unless --max-series is too low.",
            series(rate(select(c.FOLDED)), "folded into ~other"),
            series(rate(select(c.OVERFLOW), "reason"), "in no row: {{reason}}", "B"),
            size="8x8",
        )
    )
    made.with_panel(
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
        )
    )
    made.with_panel(
        graph(
            "A CPU's time in the programs",
            "The share of one CPU that the programs take; only with --program-stats or "
            "kernel.bpf_stats_enabled=1.",
            series(
                rate(select(c.RUN_SECONDS), "instance, interface"), "{{instance}} {{interface}}"
            ),
            unit="percentunit",
            size="8x8",
        )
    )
    made.with_panel(
        graph(
            "Duration of a scrape",
            "Seconds that the agent took to read the maps and write the text. Keep it far below "
            "the scrape's timeout.",
            series(select(c.SCRAPE_SECONDS), "{{instance}}"),
            unit="s",
            size="8x8",
            steps=[(None, "transparent"), (5, "red")],
        )
    )
    made.with_panel(
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
        )
    )
    made.with_panel(
        graph(
            "The agent's memory",
            "Resident memory of the agents' processes; the kernel's maps are not in it.",
            series(
                'process_resident_memory_bytes{job=~"$job",instance=~"$instance"}', "{{instance}}"
            ),
            unit="bytes",
            size="12x8",
        )
    )
    made.with_panel(
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
        )
    )
