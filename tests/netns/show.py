"""A nameserver's day in some minutes, for the pictures in the README.

    python -m tests.netns.show ANSWERS.json [MINUTES]

In the lab, real queries rise and fall as on an ordinary day; at its height comes a reflection
attack (ANY for one name), later a scan with broken messages. A real agent counts, a real
Prometheus scrapes it; what the overview's panels ask is stored, for `python -m grafana.picture`.
For the answers, NSD answers another such day: for a time one query in 17 is lost, for some seconds
it hangs, and then come random names. For the triage, ordinary queries are an hour and a day ago,
and both attacks are now (see site.py). Needs root.
"""

from __future__ import annotations

import json
import math
import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message

from grafana.picture import Answers, collect
from tests.netns.actors import Agent, Prometheus, start_nsd, supervisors
from tests.netns.answered import (
    OTHER4,
    QUESTIONS,
    ZONES,
    Asked,
    ask,
    other_address,
    unanswered_are_known,
)
from tests.netns.lab import SERVER4, SERVER6, Lab, Process
from tests.netns.scrape import http_get
from tests.netns.site import ETH, LO, measured
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


def attack(count: int) -> list[Sent]:
    """Queries whose answers are large, for somebody else."""
    message = dns.message.make_query("big.zone-1.museum.", "ANY", use_edns=0, payload=4096, id=0)
    message.want_dnssec()
    return [Sent(message.to_wire())] * count


def scan(count: int) -> list[Sent]:
    """Packets that are no query."""
    return random.Random(1).choices([one for one in odd() if one.outcome != "query"], k=count)


def day(seconds: float) -> Iterator[list[Sent]]:
    """What to send in each tenth of a second."""
    chance = random.Random(10530)
    usual, broken = ordinary(5000), scan(500)
    begin = time.monotonic()
    while (at := (time.monotonic() - begin) / seconds) < 1:
        tick = time.monotonic()
        rate = 140 + 480 * (0.5 - 0.5 * math.cos(2 * math.pi * at)) ** 1.4
        packets = chance.choices(usual, k=int(rate / 10 * chance.uniform(0.93, 1.07)))
        if 0.52 < at < 0.64:
            packets += attack(int(38 * min(1, (at - 0.52) * 40, (0.64 - at) * 40)))
        packets += chance.choices(broken, k=7 if 0.78 < at < 0.84 else int(chance.random() < 0.15))
        chance.shuffle(packets)
        yield packets
        time.sleep(max(0.0, tick + 0.1 - time.monotonic()))


def the_day(minutes: float) -> Answers:
    """What the overview's queries return over the day."""
    with Lab() as lab:
        agent = Agent(lab, "--program-stats")
        with sinks(lab):
            prometheus = Prometheus(lab)
            # Each row must be there before its first rate.
            send(lab.client, [*ordinary(5000), *attack(1), *scan(100)], lab.quiet)
            time.sleep(15)
            start = time.time() + 20  # a whole window lies in the day
            for packets in day(minutes * 60):
                send(lab.client, packets, lambda: None)
            end = time.time()
        found = collect(asker(lab), "xdpdns", start, end, "20s")
        agent.stop()
        assert prometheus.process.exited is None
        return found


def the_attack() -> Answers:
    """What the triage's queries return when an attack comes on top of the ordinary queries."""
    usual = ordinary(15000)
    traffic = {
        "1w": {ETH: usual[:3600], LO: []},
        "1d": {ETH: [*usual[3600:7300], *scan(12)], LO: []},
        "1h": {ETH: [*usual[7300:11000], *scan(10)], LO: []},
        "": {ETH: [*usual[11000:], *attack(3100), *scan(300)], LO: []},
    }
    with measured(traffic) as site:
        ask = asker(site.lab)
        return collect(ask, "xdpdns-triage", site.at - 60, site.at, "60s", instance=ETH)


def hang(nsd: Process, seconds: float) -> None:
    """NSD's processes that answer stand still for so long; what comes meanwhile waits for them."""
    answering = supervisors(nsd.pid)
    for pid in answering:
        answering += supervisors(pid)  # its children's children, too
    for pid in answering:
        os.kill(pid, signal.SIGSTOP)

    def go_on() -> None:
        for pid in answering:
            os.kill(pid, signal.SIGCONT)

    threading.Timer(seconds, go_on).start()


def answered_day(lab: Lab, nsd: Process, seconds: float) -> None:
    """Ask NSD as on a day: it loses some queries, hangs for a moment, is asked for nothing."""
    chance = random.Random(1053)
    usual = [one for one in QUESTIONS for _ in range(one.times)]
    begin = time.monotonic()
    hung = False
    while (at := (time.monotonic() - begin) / seconds) < 1:
        tick = time.monotonic()
        rate = 100 + 300 * (0.5 - 0.5 * math.cos(2 * math.pi * at)) ** 1.4
        asked = chance.choices(usual, k=int(rate / 10 * chance.uniform(0.93, 1.07)))
        if 0.65 < at < 0.8:
            names = [f"{chance.getrandbits(64):x}.example." for _ in range(40)]
            asked += [Asked(1, "NXDOMAIN", name, edns=1232) for name in names]
        chance.shuffle(asked)
        if not hung and at > 0.45:
            hang(nsd, 2.5)
            hung = True
        with lab.client.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as four:
            six = lab.client.inside(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
            with six:
                for one in asked:
                    lost = 0.2 < at < 0.35 and chance.random() < 1 / 17
                    if chance.random() < 0.35 and not lost:
                        six.sendto(one.wire(), (SERVER6, 53))
                    else:
                        four.sendto(one.wire(), (OTHER4 if lost else SERVER4, 53))
                time.sleep(max(0.02, tick + 0.1 - time.monotonic()))


def the_answers(minutes: float) -> Answers:
    """What the queries of the dashboard about answers return over such a day."""
    with Lab() as lab:
        other_address(lab)
        nsd = start_nsd(lab, ZONES)
        agent = Agent(lab, "--latency-sample", "1")
        prometheus = Prometheus(lab)
        ask(lab)  # each row must be there before its first rate
        unanswered_are_known(15)
        start = time.time() + 20
        answered_day(lab, nsd, minutes * 60)
        end = time.time()
        found = collect(asker(lab), "xdpdns-answers", start, end, "20s")
        agent.stop()
        assert prometheus.process.exited is None
        return found


def asker(lab: Lab) -> Callable[[str], bytes]:
    """Ask the lab's Prometheus."""
    return lambda path: http_get(lab.server, path, port=Prometheus.port).body


def main(path: Path, minutes: float) -> None:
    """Run all three, and store the answers by the dashboards' uids."""
    answers = {"xdpdns-triage": the_attack(), "xdpdns": the_day(minutes)}
    answers["xdpdns-answers"] = the_answers(minutes)
    path.write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else 8)
