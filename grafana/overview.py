"""The dashboard *DNS queries*: what reaches the nameservers, and whether the agents are well."""

from __future__ import annotations

from collections.abc import Iterator

from grafana_foundation_sdk.builders import dashboard as dash
from grafana_foundation_sdk.builders import heatmap

from grafana.health import FILL, health
from grafana.parts import OVERVIEW, bars, board, graph, heat, instant, number, section, series
from grafana.promql import (
    MALFORMED,
    MESSAGES,
    WINDOW,
    increase,
    messages,
    outcomes,
    rate,
    segments,
    select,
    share,
)
from xdpdns import catalogue as c

QUERIES = messages("query")
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
    for part in (_glance, _features, _packets, _shapes, health):
        part(made)
    return made


def _glance(made: dash.Dashboard) -> None:
    section(
        made,
        "At a glance",
        number(
            "Queries",
            "Whole DNS queries a second on the chosen interfaces, over UDP and TCP.",
            series(QUERIES),
            unit="reqps",
        ),
        number(
            "Over IPv6",
            "The share of the queries that came over IPv6.",
            series(_queries_with(af="ipv6")),
            unit="percentunit",
        ),
        number(
            "DNSSEC wanted",
            "The share of the queries with the DO bit: their answers carry signatures.",
            series(_queries_with(do="1")),
            unit="percentunit",
        ),
        number(
            "Malformed",
            "Messages to a DNS port over UDP without exactly one whole question, as a share of all "
            "messages there. A few per mille are normal; more is a scanner, an attack or a bug.",
            series(share(outcomes(f"~{MALFORMED}"), outcomes(f"~{MESSAGES}"))),
            unit="percentunit",
            steps=[(None, "green"), (0.01, "yellow"), (0.05, "red")],
        ),
        number(
            "In no row",
            "Messages of this time range that are counted, but in no row, since a map was full. "
            "Raise --max-series, or leave out a dimension with --labels.",
            instant(increase(select(c.OVERFLOW))),
            unit="short",
            steps=[(None, "green"), (1, "red")],
        ),
        number(
            "Not counted",
            "Interfaces whose packets aren't counted now; the table of interfaces below says why.",
            series(f"count({select(c.UP)} == 0) or vector(0)"),
            unit="short",
            steps=[(None, "green"), (1, "red")],
        ),
        number(
            "Map fill",
            "The fullest map's entries as a share of --max-series. Above 80 % soon new TLDs "
            "can't get rows of their own.",
            series(f"max({FILL})"),
            unit="percentunit",
            steps=[(None, "green"), (0.7, "yellow"), (0.9, "red")],
            course=False,
        ),
        number(
            "Cost of a packet",
            "What the kernel spends in the program for each packet, by its own clock. Taken only "
            "with --program-stats or kernel.bpf_stats_enabled=1, which itself costs 20 to 40 ns.",
            series(COST),
            unit="s",
            steps=[(None, "green"), (2e-6, "yellow"), (10e-6, "red")],
            empty="--program-stats",
        ),
    )


def _features(made: dash.Dashboard) -> None:
    every = select(c.QUERIES)
    section(
        made,
        "Queries by their features",
        graph(
            "Queries by family and transport",
            "Queries a second over IPv4 and IPv6.",
            series(rate(every, "af, proto"), "{{af}} {{proto}}"),
            stack="normal",
        ),
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
        ),
        graph(
            "Query types",
            "The ten most asked types of the time range.",
            series(
                f"{rate(every, 'qtype')} {TOP.format(by='qtype', of=every)}",
                "{{qtype}}",
            ),
            stack="normal",
            size="12x9",
        ),
        graph(
            "EDNS sizes",
            "Shares of the response sizes that clients offer. 1232 is what DNS flag day 2020 asks "
            "for; answers over 1400 may be fragmented; no_edns: 512 bytes and no DNSSEC.",
            series(rate(every, "edns"), "{{edns}}"),
            stack="percent",
            size="12x9",
        ),
        graph(
            "Top-level domains",
            "The ten TLDs of the time range that are asked for most. ~other is every label that "
            "is not on the list of --tlds.",
            series(f"{rate(every, 'tld')} {TOP.format(by='tld', of=every)}", "{{tld}}"),
            stack="normal",
            size="12x9",
        ),
        bars(
            "Top TLDs",
            "The twenty TLDs that were asked for most, over the whole time range.",
            instant(f"sort_desc(topk(20, {rate(every, 'tld', window='$__range')}))", "{{tld}}"),
            size="6x9",
        ),
        bars(
            "Top types",
            "The twenty types that were asked for most, over the whole time range.",
            instant(f"sort_desc(topk(20, {rate(every, 'qtype', window='$__range')}))", "{{qtype}}"),
            size="6x9",
        ),
    )


def _packets(made: dash.Dashboard) -> None:
    messages = outcomes(f"~{MESSAGES}")
    section(
        made,
        "Packets",
        graph(
            "Packets by outcome",
            "Every packet of the queries' direction has exactly one outcome; what they mean is in "
            "the README. The scale is logarithmic: a few odd packets show beside many queries.",
            series(outcomes(by="outcome") + " > 0", "{{outcome}}"),
            unit="count:p/s",
            log=True,
            size="12x9",
        ),
        graph(
            "Malformed messages",
            "Messages to a DNS port that are no whole question, by what is wrong with them, as "
            "shares of all messages there.",
            series(share(outcomes(f"~{MALFORMED}", "outcome"), messages), "{{outcome}}"),
            unit="percentunit",
            steps=[(None, "transparent"), (0.05, "red")],
            size="12x9",
        ),
        graph(
            "TCP",
            "TCP segments to a DNS port, as a share of these and the UDP messages. One query over "
            "TCP takes about five segments. A rise follows truncated answers or rate limiting.",
            series(share(outcomes("tcp"), outcomes(f"~tcp|{MESSAGES}")), "TCP segments"),
            unit="percentunit",
            size="8x8",
            steps=[(None, "transparent"), (0.3, "red")],
        ),
        graph(
            "TCP segments",
            "Segments to a DNS port by what they are. Only syn is a flood; partial and "
            "continuation hold messages that are too large for one segment.",
            series(segments() + " > 0", "{{segment}}"),
            unit="count:p/s",
            size="8x8",
        ),
        graph(
            "Opcodes other than QUERY",
            "NOTIFY and UPDATE belong to zone maintenance; from strangers they are probes.",
            series(rate(select(c.OPCODES, opcode="!QUERY"), "opcode") + " > 0", "{{opcode}}"),
            size="8x8",
        ),
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
        ),
    )


def _heats() -> Iterator[heatmap.Panel]:
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
        yield heat(title, text, series(buckets, "{{le}}"), axis=axis)


def _shapes(made: dash.Dashboard) -> None:
    section(
        made,
        "Sizes, names, classes",
        *_heats(),
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
        ),
        graph(
            "EDNS versions",
            "Queries by the version in their OPT record; anything but 0 is a probe.",
            series(rate(select(c.EDNS_VERSIONS), "version") + " > 0", "{{version}}"),
            size="8x8",
        ),
        graph(
            "Classes other than IN",
            "CH asks for version.bind and the like; ANY and NONE have no place in a query.",
            series(rate(select(c.CLASSES, qclass="!IN"), "qclass") + " > 0", "{{qclass}}"),
            size="8x8",
        ),
    )
