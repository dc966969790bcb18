"""A nameserver's day in some minutes, for the picture in the README.

    python -m tests.netns.show ANSWERS.json [MINUTES]

In the lab, real queries rise and fall as on an ordinary day; at its height comes a reflection
attack (ANY for one name), later a scan with broken messages. A real agent counts, a real
Prometheus scrapes it; what the dashboard's panels ask is stored, for `python -m grafana.picture`.
Needs root.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dns.flags
import dns.message

from grafana.picture import collect
from tests.netns.actors import Agent, Prometheus
from tests.netns.lab import Lab
from tests.netns.scrape import http_get
from tests.netns.traffic import Sent, odd, send, sinks

TYPES = {"A": 56, "AAAA": 22, "HTTPS": 9, "PTR": 4, "TXT": 3, "DS": 3, "MX": 2, "NS": 1}
TLDS = {"com": 38, "net": 13, "org": 9, "de": 8, "nl": 7, "arpa": 6, "io": 4, "uk": 4, "fr": 3}
TLDS |= {"museum": 1, "local": 2, "lan": 1, "not-a-tld": 4}
SIZES = {None: 12, 512: 3, 1232: 52, 1400: 6, 1452: 7, 4096: 20}
WORDS = ("a", "ns1", "www", "mail", "api-eu", "cdn", "static-assets", "x7f3k2q9-tracker")


def _pick(chance: random.Random, weights: dict[str, int] | dict[int | None, int]) -> list[object]:
    return chance.choices(list(weights), list(weights.values()))


def ordinary(count: int) -> list[Sent]:
    """Queries as a TLD's or a hoster's nameserver may see them."""
    chance = random.Random(53)
    made = []
    for _ in range(count):
        [qtype], [tld], [size] = (_pick(chance, w) for w in (TYPES, TLDS, SIZES))
        name = f"{chance.choice(WORDS)}.zone-{chance.randrange(40)}.{tld}."
        message = dns.message.make_query(name, str(qtype), use_edns=False, id=0)
        message.flags = dns.flags.Flag(dns.flags.AD if chance.random() < 0.2 else 0)
        if isinstance(size, int):
            message.use_edns(0, dns.flags.DO if chance.random() < 0.6 else 0, size)
        made.append(Sent(message.to_wire(), af=chance.choices(["ipv4", "ipv6"], [65, 35])[0]))
    return made


def day(seconds: float) -> Iterator[list[Sent]]:
    """What to send in each tenth of a second."""
    chance = random.Random(10530)
    usual, scan = ordinary(5000), [one for one in odd() if one.outcome != "query"]
    attack = dns.message.make_query("big.zone-1.museum.", "ANY", use_edns=0, payload=4096, id=0)
    attack.want_dnssec()
    any_query = Sent(attack.to_wire())
    begin = time.monotonic()
    while (at := (time.monotonic() - begin) / seconds) < 1:
        tick = time.monotonic()
        rate = 140 + 480 * (0.5 - 0.5 * math.cos(2 * math.pi * at)) ** 1.4
        packets = chance.choices(usual, k=int(rate / 10 * chance.uniform(0.93, 1.07)))
        if 0.52 < at < 0.64:
            packets += [any_query] * int(38 * min(1, (at - 0.52) * 40, (0.64 - at) * 40))
        packets += chance.choices(scan, k=7 if 0.78 < at < 0.84 else int(chance.random() < 0.15))
        chance.shuffle(packets)
        yield packets
        time.sleep(max(0.0, tick + 0.1 - time.monotonic()))


def main(path: Path, minutes: float) -> None:
    """Run it, and store the answers."""
    with Lab() as lab:
        agent = Agent(lab, "--program-stats")
        with sinks(lab.server):
            prometheus = Prometheus(lab)
            # Each row must be there before its first rate.
            send(lab.client, ordinary(5000), lab.quiet)
            time.sleep(15)
            start = time.time() + 20  # from where on a whole interval of the day is known
            for packets in day(minutes * 60):
                send(lab.client, packets, lambda: None)
            end = time.time()

        def ask(address: str) -> bytes:
            return http_get(lab.server, address, port=prometheus.port).body

        path.write_text(json.dumps(collect(ask, start, end)))
        agent.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else 8)
