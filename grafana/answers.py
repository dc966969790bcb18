"""The dashboard *DNS answers*: how queries were answered, how soon, and how many never were."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as dash

from grafana.parts import ANSWERS, Steps, board, graph, grid, heat, number, section, series
from grafana.promql import (
    WINDOW,
    increase,
    messages,
    outcomes,
    quantile,
    rate,
    select,
    share,
    unanswered,
)
from xdpdns import catalogue as c

EVERY = rate(select(c.RESPONSES))
QUERIES, RESPONSES = messages("query"), messages("response")
UNTIMED = "--latency-sample"
"""What a panel about response times shows where none are taken."""

ERRORS = "NXDOMAIN", "SERVFAIL", "REFUSED"
QUANTILES = (("A", 0.5, "median"), ("B", 0.95, "95 %"), ("C", 0.99, "99 %"))


def _with(**labels: str) -> str:
    """The share of the responses with these labels; 0 if there never was one."""
    return share(f"({rate(select(c.RESPONSES, **labels))} or vector(0))", EVERY)


def _over_udp(by: str = "", **labels: str) -> str:
    """The rate of the responses over UDP."""
    return rate(select(c.RESPONSES, proto="udp", **labels), by)


TRUNCATED = share(f"({_over_udp(tc='1')} or vector(0))", _over_udp())


def answers() -> dash.Dashboard:
    """Build it."""
    made = board(
        ANSWERS,
        "How these nameservers answered, as it left their interfaces: codes, sizes, response times "
        "and what was never answered.",
        since="now-3h",
    )
    for part in (_glance, _codes, _times, _sizes, _packets):
        part(made)
    return made


def _glance(made: dash.Dashboard) -> None:
    section(
        made,
        "At a glance",
        number(
            "Responses",
            "DNS responses a second, from a watched port of these interfaces.",
            series(RESPONSES),
            unit="reqps",
        ),
        number(
            "Answers per query",
            "Responses for each query. Below 1 something is dropped: by rate limiting, by a full "
            "socket or on purpose. Above 1 responses leave that nobody asked for here, or to "
            "messages that are no plain query, such as NOTIFY.",
            series(f"{RESPONSES} / {QUERIES}"),
            unit="none",
            steps=[(None, "red"), (0.8, "yellow"), (0.95, "green"), (1.05, "yellow")],
        ),
        number(
            "Unanswered",
            "The share of the timed queries that had no response within 8.6 s.",
            series(unanswered()),
            unit="percentunit",
            steps=[(None, "green"), (0.01, "yellow"), (0.05, "red")],
            empty=UNTIMED,
        ),
        number(
            "99 % within",
            "The time within which 99 of 100 timed queries were answered, from the arrival of the "
            "query to the leaving of the response.",
            series(quantile(0.99, c.DURATION)),
            unit="s",
            steps=[(None, "green"), (0.1, "yellow"), (1, "red")],
            empty=UNTIMED,
        ),
        number(
            "NXDOMAIN",
            "The share of the responses that say that the name does not exist. What is ordinary "
            "differs: a few per cent for a hoster, more than half for the root.",
            series(_with(rcode="NXDOMAIN")),
            unit="percentunit",
        ),
        number(
            "SERVFAIL",
            "The share of the responses that say that the server failed: a zone that is not loaded "
            "or has expired, or, of a resolver, authorities that don't answer or don't validate.",
            series(_with(rcode="SERVFAIL")),
            unit="percentunit",
            steps=[(None, "green"), (0.01, "yellow"), (0.05, "red")],
        ),
        number(
            "REFUSED",
            "The share of the responses that refuse: names of zones that are not served here, or "
            "clients that may not ask.",
            series(_with(rcode="REFUSED")),
            unit="percentunit",
            steps=[(None, "green"), (0.05, "yellow"), (0.2, "red")],
        ),
        number(
            "Truncated",
            "The share of the responses over UDP with the TC bit, after which a client asks again "
            "over TCP: too large for the size that it offered, or slipped by rate limiting.",
            series(TRUNCATED),
            unit="percentunit",
            steps=[(None, "green"), (0.05, "yellow"), (0.1, "red")],
        ),
    )


def _codes(made: dash.Dashboard) -> None:
    every = select(c.RESPONSES)
    by_code = increase(every, "rcode")
    section(
        made,
        "How queries were answered",
        graph(
            "Queries and responses",
            "Both in one picture: where they part, queries are dropped.",
            series(QUERIES, "queries"),
            series(RESPONSES, "responses", "B"),
        ),
        graph(
            "Answers per query by instance",
            "Responses for each query that came. One instance below the others drops queries.",
            series(
                f"{messages('response', 'instance')} / {messages('query', 'instance')}",
                "{{instance}}",
            ),
            unit="none",
        ),
        graph(
            "Response codes",
            "Responses a second by code. NOERROR are those with an answer; NODATA and REFERRAL, "
            "which share its number, are beside it.",
            series(rate(every, "rcode"), "{{rcode}}"),
            stack="normal",
        ),
        grid(
            "Every response code",
            "Responses of the whole time range by code, the most frequent first.",
            [by_code, share(by_code, increase(every)), by_code],
            [("Responses", "short", ()), ("Share", "percentunit", ())],
            size="12x8",
            order=2,
        ),
        graph(
            "Errors",
            "The shares of NXDOMAIN, SERVFAIL and REFUSED. Which is ordinary depends on the zone; "
            "what counts is the change.",
            *(
                series(_with(rcode=code), code, ref)
                for ref, code in zip("ABC", ERRORS, strict=True)
            ),
            unit="percentunit",
            size="8x8",
        ),
        graph(
            "Nothing in the answer",
            "NODATA: the name exists, but not this type. REFERRAL: ask the nameservers of the zone "
            "below, nearly all that a TLD's server says.",
            series(_with(rcode="NODATA"), "NODATA"),
            series(_with(rcode="REFERRAL"), "REFERRAL", "B"),
            unit="percentunit",
            size="8x8",
        ),
        graph(
            "Header and EDNS bits",
            "The shares of the responses with AA (this server is an authority for the name) and "
            "with DO in their OPT record (DNSSEC records were wanted).",
            series(_with(aa="1"), "AA"),
            series(_with(do="1"), "DO", "B"),
            unit="percentunit",
            size="8x8",
            most=1,
        ),
        graph(
            "Responses by family and transport",
            "Responses a second over IPv4 and IPv6, UDP and TCP.",
            series(rate(every, "af, proto"), "{{af}} {{proto}}"),
            stack="normal",
        ),
        graph(
            "Failures by type",
            "SERVFAIL and REFUSED by the type that was asked for, in responses a second.",
            series(
                rate(select(c.RESPONSES, rcode="~SERVFAIL|REFUSED"), "rcode, qtype") + " > 0",
                "{{rcode}} {{qtype}}",
            ),
        ),
    )


def _times(made: dash.Dashboard) -> None:
    groups = "af, proto"
    buckets = increase(select(c.DURATION, "_bucket"), "le", window=WINDOW)
    result = rate(select(c.PAIRING), "result")
    section(
        made,
        "Response times, of the sampled queries (--latency-sample)",
        graph(
            "Quantiles of the response times",
            "Half, 95 % and 99 % of the queries were answered within this time, by family and "
            "transport. The buckets are powers of two: within one it is a guess.",
            *(
                # no line for a transport that nobody uses: of nothing a quantile is NaN
                series(
                    f"{quantile(q, c.DURATION, groups)} >= 0",
                    f"{name} {{{{af}}}} {{{{proto}}}}",
                    ref,
                )
                for ref, q, name in QUANTILES
            ),
            unit="s",
            log=True,
        ),
        graph(
            "Unanswered",
            "Expired queries as a share of those that were matched, expired or displaced.",
            series(unanswered(), "unanswered"),
            unit="percentunit",
            steps=[(None, "transparent"), (0.05, "red")],
        ),
        heat(
            "Response times",
            "Timed queries by the time until their response left. A second band is a second way "
            "to an answer: a cache miss, a lock, a disk.",
            series(buckets, "{{le}}"),
            axis="s",
            size="12x8",
        ),
        graph(
            "What became of timed queries",
            "matched: answered. expired: no response within 8.6 s. displaced: another query took "
            "its place in the table. duplicate: sent again while it waited. orphan: a response "
            "without a query, such as one that is spoofed or too late.",
            series(result, "{{result}}"),
        ),
        graph(
            "Orphan responses",
            "Responses for which no query waits, as a share of the timed responses: later than "
            "8.6 s, sent twice, or to a query that came another way.",
            series(
                share(
                    rate(select(c.PAIRING, result="orphan")),
                    rate(select(c.PAIRING, result="~matched|orphan")),
                ),
                "orphans",
            ),
            unit="percentunit",
            size="8x8",
        ),
        graph(
            "Waiting queries",
            "Timed queries that wait for their response now. What grows here is soon unanswered.",
            series(select(c.WAITING), "{{instance}} {{interface}}"),
            unit="short",
            size="8x8",
        ),
        graph(
            "Sampled share",
            "The share of the queries that is timed: what is said above is about these.",
            series(select(c.SAMPLE), "{{instance}} {{interface}}"),
            unit="percentunit",
            size="8x8",
            most=1,
        ),
    )


def _sizes(made: dash.Dashboard) -> None:
    limit: Steps = [(None, "transparent"), (0.1, "red")]
    buckets = increase(select(c.RESPONSE_SIZE, "_bucket"), "le", window=WINDOW)
    section(
        made,
        "Sizes and truncation",
        heat(
            "Response sizes",
            "Responses by their size as DNS messages. Over 1232 bytes they may be fragmented; "
            "a band that appears far above the others amplifies an attack.",
            series(buckets, "{{le}}"),
            axis="decbytes",
            size="12x8",
        ),
        graph(
            "Quantiles of the sizes",
            "Half, 95 % and 99 % of the responses are at most this large.",
            *(series(quantile(q, c.RESPONSE_SIZE), name, ref) for ref, q, name in QUANTILES),
            series(
                f"{rate(select(c.RESPONSE_SIZE, '_sum'))} / "
                f"{rate(select(c.RESPONSE_SIZE, '_count'))}",
                "average",
                "D",
            ),
            unit="decbytes",
        ),
        graph(
            "Truncated over UDP",
            "The share of the responses over UDP that have the TC bit.",
            series(TRUNCATED, "truncated"),
            unit="percentunit",
            size="8x8",
            steps=limit,
        ),
        graph(
            "Truncated by type",
            "Truncated responses a second by type. ANY, DNSKEY and TXT are large by nature; of all "
            "types alike, rate limiting slips.",
            series(_over_udp("qtype", tc="1") + " > 0", "{{qtype}}"),
            size="8x8",
        ),
        graph(
            "Over TCP",
            "The share of the responses that were sent over TCP. A rise follows truncation.",
            series(_with(proto="tcp"), "TCP"),
            unit="percentunit",
            size="8x8",
        ),
    )


def _packets(made: dash.Dashboard) -> None:
    section(
        made,
        "Packets of the responses' direction",
        graph(
            "Packets by outcome",
            "Every packet of the responses' direction has exactly one outcome; what they mean "
            "is in the README. The scale is logarithmic.",
            series(outcomes(by="outcome", side="responses") + " > 0", "{{outcome}}"),
            unit="count:p/s",
            log=True,
            size="24x8",
        ),
    )
