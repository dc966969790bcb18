"""tests/bench/run [NAME...] [--json FILE]: the benchmarks by name; by default all but the soak."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

from tests.bench.plot import draw
from xdpdns.errors import XdpdnsError

BENCHMARKS = {
    "packet": "tests.bench.per_packet",
    "exchange": "tests.bench.exchange",
    "both": "tests.bench.both",
    "load": "tests.bench.load",
    "scrape": "tests.bench.scrape",
    "start": "tests.bench.start",
    "nameserver": "tests.bench.nameserver",
    "swap": "tests.bench.swap",
    "overload": "tests.bench.overload",
    "growth": "tests.bench.growth",
    "soak": "tests.bench.soak",
}
LONG = ("soak",)
"""Those that run only if they are named."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/bench/run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here, too")
    parser.add_argument(
        "--minutes", type=float, default=30.0, metavar="N", help="how long the soak lasts (30)"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how cost grows (growth)")
    options = parser.parse_args()
    if unknown := [name for name in options.names if name not in BENCHMARKS]:
        parser.error(f"{unknown[0]} is not a benchmark: choose from {', '.join(BENCHMARKS)}")
    if os.geteuid() != 0:
        parser.error("not permitted: run as root")
    load = os.getloadavg()[0]
    print(f"Linux {platform.release()}, {os.cpu_count()} CPUs, load {load:.1f} before the start\n")
    done, failed = {}, False
    for name in options.names or [name for name in BENCHMARKS if name not in LONG]:
        run = importlib.import_module(BENCHMARKS[name]).tables
        try:
            tables = run(options.minutes) if name in LONG else run()
        except XdpdnsError as error:
            print(f"{name}: {error}\n", file=sys.stderr)
            failed = True
            continue
        print("\n".join(map(str, tables)), flush=True)
        done[name] = [table.to_json() for table in tables]
        if options.plot and name == "growth":
            draw(tables, options.plot)
    if options.json:
        machine = {"kernel": platform.release(), "cpus": os.cpu_count(), "load": load}
        options.json.write_text(json.dumps({"machine": machine, "tables": done}, indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
