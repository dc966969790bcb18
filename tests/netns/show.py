"""A nameserver's day in some minutes, for the pictures in the README.

    python -m tests.netns.show ANSWERS.json [MINUTES]

In the lab, real queries rise and fall as on an ordinary day; at its height comes a reflection
attack (ANY for one name), later a scan with broken messages. A real agent counts, a real
Prometheus scrapes it; what the overview's panels ask is stored, for `python -m grafana.picture`.
For the answers, NSD answers another such day: for a time one query in 17 is lost, for some seconds
it hangs, and then come random names. For the triage, ordinary queries are an hour and a day ago,
and both attacks are now (see site.py). For the fleet, three sites have an ordinary day, which is
stored as if it were a week ago, and then one on which a site loses its route. Needs root.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
from tests.netns.fleet import STORE_PORT, Fleet
from tests.netns.lab import SERVER4, SERVER6, Lab, Process
from tests.netns.scrape import http_get
from tests.netns.site import AGES, ETH, LO, measured
from tests.netns.traffic import Say, Sent, odd, responses, send, sinks

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
    usual = ordinary(18000)
    ordinarily = {"NODATA": 900, "NXDOMAIN": 410, "REFERRAL": 260, "REFUSED": 14}
    traffic = {
        "1w": {ETH: usual[:3600], LO: []},
        "1d": {
            ETH: [*usual[3600:7300], *scan(12), *responses(NOERROR=2080, FORMERR=9, **ordinarily)],
            LO: usual[15000:15900],
        },
        "1h": {
            ETH: [*usual[7300:11000], *scan(10), *responses(NOERROR=2110, FORMERR=8, **ordinarily)],
            LO: usual[15900:16900],
        },
        "": {
            ETH: [
                *usual[11000:15000],
                *attack(3100),
                *scan(300),
                *responses(NOERROR=5370, FORMERR=260, SERVFAIL=12, **ordinarily),
            ],
            LO: usual[16900:],
        },
    }
    with measured(traffic) as site:
        ask = asker(site.lab)
        found = collect(ask, "xdpdns-triage", site.at - 60, site.at, "60s")
    for name, series in found.items():
        if isinstance(series, list):  # Prometheus scrapes over the loopback, which is counted
            found[name] = [one for one in series if one["metric"].get("outcome") != "not_udp"]
    return found


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
        ask_nsd(lab, asked, 1 / 17 if 0.2 < at < 0.35 else 0, chance)
        time.sleep(max(0.02, tick + 0.1 - time.monotonic()))


def ask_nsd(lab: Lab, asked: Sequence[Asked], lost: float, chance: random.Random) -> None:
    """Ask by both families; a share is lost: it goes where no nameserver is."""

    def sockets() -> tuple[socket.socket, socket.socket]:
        families = (socket.AF_INET, socket.AF_INET6)
        four, six = (socket.socket(family, socket.SOCK_DGRAM) for family in families)
        return four, six

    four, six = lab.client.inside(sockets)
    with four, six:
        for one in asked:
            goes_astray = chance.random() < lost
            if chance.random() < 0.35 and not goes_astray:
                six.sendto(one.wire(), (SERVER6, 53))
            else:
                four.sendto(one.wire(), (OTHER4 if goes_astray else SERVER4, 53))
        time.sleep(0.02)  # the answers come while the sockets are open


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


@contextmanager
def nsd(lab: Lab) -> Iterator[Say]:
    """NSD takes a server's port 53; it says the responses itself."""
    other_address(lab)
    start_nsd(lab, ZONES)
    yield lambda packets: None


def fleet_day(fleet: Fleet, seconds: float, ordinary: bool) -> None:
    """Ask three sites as on a day.

    Unless it is ordinary, lon loses its route for a time, and later tyo is asked for random names,
    some of which are lost.
    """
    chance = random.Random(7)
    usual = [one for one in QUESTIONS for _ in range(one.times)]
    begin = time.monotonic()
    while (at := (time.monotonic() - begin) / seconds) < 1:
        tick = time.monotonic()
        hours = {"ams": at, "lon": at - 0.05, "tyo": at - 0.4}
        sizes = {"ams": 60.0, "lon": 40.0, "tyo": 25.0}
        rates = {
            name: sizes[name] * (0.35 + (0.5 - 0.5 * math.cos(2 * math.pi * hours[name])) ** 1.4)
            for name in sizes
        }
        astray = 0.0
        if not ordinary and 0.3 < at < 0.5:
            rates["ams"] += 0.8 * rates["lon"]
            rates["tyo"] += 0.2 * rates["lon"]
            rates["lon"] = 0.0
        for name, lab in fleet.labs.items():
            asked = chance.choices(usual, k=round(rates[name] / 5 * chance.uniform(0.93, 1.07)))
            if not ordinary and name == "tyo" and 0.7 < at < 0.85:
                names = [f"{chance.getrandbits(64):x}.example." for _ in range(15)]
                asked += [Asked(1, "NXDOMAIN", text, edns=1232) for text in names]
                astray = 0.08
            ask_nsd(lab, asked, astray, chance)
        time.sleep(max(0.0, tick + 0.2 - time.monotonic()))


def the_fleet(minutes: float) -> Answers:
    """What the fleet's queries return over such a day, with an ordinary one a week before."""
    timed = ("--latency-sample", "1")
    with Fleet({"ams": timed, "lon": timed, "tyo": timed}, nsd) as fleet:
        for lab in fleet.labs.values():
            ask(lab)  # each row must be there before its first rate
        unanswered_are_known()
        fleet.report()
        fleet.store.wait_for(fleet.labs)
        time.sleep(10)
        before = time.time()
        fleet_day(fleet, minutes * 60, ordinary=True)
        start = time.time()
        fleet_day(fleet, minutes * 60, ordinary=False)
        time.sleep(5)
        end = time.time() - 5
        fleet.store.say_again(start - before - AGES["1w"], before - 30, start)
        time.sleep(2)
        # from when a whole window lies in both days
        return collect(asker(fleet.hub, STORE_PORT), "xdpdns-fleet", start + 25, end, "20s")


def asker(lab: Lab, port: int = Prometheus.port) -> Callable[[str], bytes]:
    """Ask the lab's Prometheus, or its store."""
    return lambda path: http_get(lab.server, path, port=port).body


def main(path: Path, minutes: float) -> None:
    """Run all four, and store the answers by the dashboards' uids."""
    answers = {"xdpdns-triage": the_attack(), "xdpdns": the_day(minutes)}
    answers["xdpdns-answers"] = the_answers(minutes)
    answers["xdpdns-fleet"] = the_fleet(minutes)
    path.write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else 8)
