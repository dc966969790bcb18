"""Pictures of the dashboards, drawn by Grafana's own components from a Prometheus's answers.

    python -m grafana.picture http://localhost:9090 FOLDER    # your own traffic
    python -m grafana.picture ANSWERS.json                    # what tests.netns.show has stored

The dashboards' JSON is drawn by @grafana/ui (render/panels.jsx) in a Chromium without a window, as
overview.png, answers.png, triage.png and fleet.png in the folder, or beside this file: of the last
15 minutes that a Prometheus knows, or of what :func:`collect` returned for each dashboard. It needs
npm, chromium and Pillow, and keeps @grafana/ui in ~/.cache/xdpdns-panels.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from PIL import Image

HERE = Path(__file__).resolve().parent
CACHE = Path.home() / ".cache" / "xdpdns-panels"
STEP = 5
"""Seconds between two points."""
RECENT = 900
"""Seconds that are drawn of a Prometheus that runs."""
WIDTH = 1600
ROW = 38
"""Pixels of a row of Grafana's grid, with its gap."""
PICTURES = {
    "xdpdns": ("overview.png", {"row", "stat", "timeseries", "bargauge"}, 43),
    "xdpdns-answers": ("answers.png", {"row", "stat", "timeseries", "table"}, 48),
    "xdpdns-triage": ("triage.png", {"table"}, 100),
    "xdpdns-fleet": ("fleet.png", {"row", "stat", "timeseries", "table"}, 50),
}
"""By uid: the file, the kinds of panels, and how many of the grid's rows are drawn.

@grafana/ui has no heat map: that is a plugin of Grafana itself.
"""

Answers = dict[str, Any]
"""`start`, `end`, and by `PANEL/REF` what the query returned: series with `metric`, `values`."""


def collect(
    ask: Callable[[str], bytes],
    uid: str,
    start: float,
    end: float,
    window: str,
    instance: str = ".+",
) -> Answers:
    """Ask every query of a dashboard over a time range.

    `ask` gets a path of Prometheus's API; rates are taken over `window`. `instance` is
    a pattern, as the dashboard's variable is.
    """
    answers: Answers = {"start": start, "end": end}
    values = {"$__rate_interval": window, "$window": window, "$__range": f"{int(end - start)}s"}
    values |= {"$against": "1h", "$job": ".+", "$instance": instance, "$interface": ".+"}
    for panel in _board(uid)["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"]
            for name, value in values.items():
                expr = expr.replace(name, value)
            first = end if target.get("instant") else start
            query = {"query": expr, "start": first, "end": end, "step": STEP}
            answer = json.loads(ask(f"/api/v1/query_range?{urlencode(query)}"))
            if answer["status"] != "success":
                raise ValueError(f"{panel['title']}: {answer['error']}")
            answers[f"{panel['id']}/{target['refId']}"] = answer["data"]["result"]
    return answers


def _board(uid: str) -> dict[str, Any]:
    board: dict[str, Any] = json.loads((HERE / f"{uid}.json").read_text())
    return board


def bundle() -> None:
    """Put panels.jsx and @grafana/ui together, as panels.js and panels.css in the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for source in (HERE / "render").iterdir():
        shutil.copy(source, CACHE)
    # What some libraries would load under Node.js only.
    (CACHE / "empty.js").write_text("module.exports = {};\n")
    # A .mjs file imports the whole of a CommonJS module where its author meant the default.
    (CACHE / "scrollbars.js").write_text(
        'module.exports = require("./node_modules/react-custom-scrollbars-2").default;\n'
    )
    # Grafana's packages name peers that its own build pins otherwise.
    npm = ["npm", "install", "--legacy-peer-deps", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(npm, cwd=CACHE, check=True, timeout=600)
    files = [f"--loader:.{ending}=dataurl" for ending in ("svg", "png", "woff", "woff2", "ttf")]
    esbuild = [
        str(CACHE / "node_modules" / ".bin" / "esbuild"),
        *("panels.jsx", "--outfile=panels.js", "--bundle", "--format=iife", "--minify"),
        *("--main-fields=browser,module,main", "--alias:stream=./empty.js"),
        "--alias:react-custom-scrollbars-2=./scrollbars.js",
        *("--define:global=window", '--define:process.env.NODE_ENV="production"'),
        *(*files, "--log-level=error"),
    ]
    subprocess.run(esbuild, cwd=CACHE, check=True, timeout=120)


def draw(uid: str, answers: Answers, folder: Path) -> None:
    """Draw the first panels of a dashboard into its file in the folder."""
    name, kinds, rows = PICTURES[uid]
    board = _board(uid)
    panels = [
        panel
        for panel in board["panels"]
        if panel["type"] in kinds and panel["gridPos"]["y"] + panel["gridPos"]["h"] <= rows
    ]
    top = min(panel["gridPos"]["y"] for panel in panels)
    for panel in panels:
        panel["gridPos"]["y"] -= top
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW + 16
    board["panels"] = panels
    data = json.dumps({"board": board, "answers": answers}).replace("</", "<\\/")
    page = CACHE / "page.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8><link rel=stylesheet href=panels.css>"
        "<body style='margin:0'><div id=root></div>"
        "<script>window.grafanaBootData = {settings: {}, user: {}};"
        f"window.INPUT = {data};</script><script src=panels.js></script>"
    )
    shot = CACHE / "shot.png"
    chromium = [
        *("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
        *("--allow-file-access-from-files", "--virtual-time-budget=10000"),
        "--enable-logging=stderr",
        *(f"--window-size={WIDTH},{height}", f"--screenshot={shot}", page.as_uri()),
    ]
    done = subprocess.run(chromium, check=True, timeout=120, capture_output=True, text=True)
    if "Uncaught" in done.stderr:
        said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        raise ValueError(f"{page}: {said}")
    Image.open(shot).convert("RGB").quantize(200).save(folder / name, optimize=True)


def recent(prometheus: str) -> dict[str, Answers]:
    """What every dashboard says of the last minutes, by the Prometheus at this address."""

    def ask(path: str) -> bytes:
        # main() lets only HTTP in
        with urlopen(prometheus.rstrip("/") + path, timeout=30) as answer:  # noqa: S310
            return bytes(answer.read())

    end = time.time()
    # four scrapes of deploy/prometheus.yml make a rate
    return {uid: collect(ask, uid, end - RECENT, end, "60s") for uid in PICTURES}


def main(source: str, folder: Path) -> None:
    """Draw what a file holds, or what a Prometheus says."""
    live = source.startswith(("http://", "https://"))
    found = recent(source) if live else json.loads(Path(source).read_text())
    bundle()
    folder.mkdir(parents=True, exist_ok=True)
    for uid, answers in found.items():
        draw(uid, answers, folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if sys.argv[2:] else HERE)
