"""PromQL of the catalogue's metrics, under the dashboards' variables.

A selector is written by :func:`select`, which knows the catalogue: a metric or a label that xdpdns
doesn't export can't be asked for.
"""

from __future__ import annotations

from xdpdns.catalogue import PACKETS, PAIRING, TCP_MESSAGES, TCP_SEGMENTS, Metric

WINDOW = "$__rate_interval"

# What came to a watched port over UDP and is no whole question (bpf/outcomes.h).
MALFORMED = "dns_truncated|qdcount|name_.+|question_truncated"
MESSAGES = f"query|opcode|{MALFORMED}"


def select(metric: Metric, suffix: str = "", **labels: str) -> str:
    """A selector under the dashboard's variables; a value that begins with `~` is a pattern.

    Raises:
        KeyError: the metric has no such label.

    """
    matchers = [f'{name}=~"${name}"' for name in ("job", "instance")]
    if "interface" in metric.labels:
        matchers.append('interface=~"$interface"')
    for name, value in labels.items():
        if name not in metric.labels:
            raise KeyError(f"{metric.name} has no label {name}")
        sign = "=~" if value.startswith("~") else "!=" if value.startswith("!") else "="
        matchers.append(f'{name}{sign}"{value.lstrip("~!")}"')
    return f"{metric.name}{suffix}{{{','.join(matchers)}}}"


def rate(selector: str, by: str = "", *, window: str = WINDOW, offset: str = "") -> str:
    """The sum of rates, by labels."""
    return _sum("rate", selector, by, window, offset)


def increase(selector: str, by: str = "", *, window: str = "$__range") -> str:
    """The sum of increases, by labels: over the whole time range that is shown, by default."""
    return _sum("increase", selector, by, window, "")


def _sum(function: str, selector: str, by: str, window: str, offset: str) -> str:
    grouping = f" by ({by})" if by else ""
    at = f" offset {offset}" if offset else ""
    return f"sum{grouping} ({function}({selector}[{window}]{at}))"


def share(part: str, whole: str, by: str = "") -> str:
    """`part` as a share of `whole`, which has the labels `by` alone."""
    return f"{part} / on ({by}) group_left () {whole}"


def outcomes(
    pattern: str = "",
    by: str = "",
    *,
    side: str = "queries",
    window: str = WINDOW,
    offset: str = "",
) -> str:
    """The rate of the packets with these outcomes, or of all, of the programs of this side.

    Programs of both sides have outcomes such as `tcp`.
    """
    chosen = {"side": side, "outcome": pattern} if pattern else {"side": side}
    return rate(select(PACKETS, **chosen), by, window=window, offset=offset)


def messages(outcome: str, by: str = "", *, window: str = WINDOW, offset: str = "") -> str:
    """The rate of the whole messages, `query` or `response`, over UDP (a packet each) and TCP."""
    rates = (
        rate(select(metric, outcome=outcome), by, window=window, offset=offset)
        for metric in (PACKETS, TCP_MESSAGES)
    )
    return f"({' + '.join(rates)})"


def segments(side: str = "queries") -> str:
    """The rate of the TCP segments by what they are, of the programs of this side."""
    return rate(select(TCP_SEGMENTS, side=side), "segment")


def unanswered(by: str = "") -> str:
    """The timed queries without a response, as a share of those whose fate is known."""
    expired = rate(select(PAIRING, result="expired"), by)
    return f"{expired} / {rate(select(PAIRING, result='~matched|expired|displaced'), by)}"


def quantile(portion: float, metric: Metric, by: str = "") -> str:
    """That portion of a histogram's observations is at most this large; about, within a bucket."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({portion}, {rate(select(metric, '_bucket'), labels)})"
