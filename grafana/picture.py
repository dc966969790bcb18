"""The overview as a picture, drawn by Grafana's own components from a Prometheus's answers.

    python -m tests.netns.show ANSWERS.json
    python -m grafana.picture ANSWERS.json grafana/overview.png

The first runs the lab and stores what :func:`collect` returned; the second lays out the panels of
xdpdns.json by @grafana/ui (render/panels.jsx) in a Chromium without a window. It needs npm,
chromium and Pillow, and keeps @grafana/ui in ~/.cache/xdpdns-panels.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from PIL import Image

HERE = Path(__file__).resolve().parent
CACHE = Path.home() / ".cache" / "xdpdns-panels"
STEP = 5
"""Seconds between two points."""
INTERVAL = "20s"
WIDTH = 1600
ROW = 38
"""Pixels of a row of Grafana's grid, with its gap."""
DRAWN = {"row", "stat", "timeseries", "bargauge"}
"""@grafana/ui has these; heat maps and tables are plugins of Grafana itself."""

Answers = dict[str, Any]
"""`start`, `end`, and by `TITLE/REF` what the query returned: series with `metric`, `values`."""


def collect(ask: Callable[[str], bytes], start: float, end: float) -> Answers:
    """Ask every query of the overview over a time range; `ask` gets a path of Prometheus's API."""
    answers: Answers = {"start": start, "end": end}
    for panel in _board()["panels"]:
        for target in panel.get("targets", []):
            expr = target["expr"].replace("$__rate_interval", INTERVAL)
            expr = expr.replace("$__range", f"{int(end - start)}s")
            for name in ("job", "instance", "interface"):
                expr = expr.replace(f"${name}", ".+")
            first = end if target.get("instant") else start
            query = {"query": expr, "start": first, "end": end, "step": STEP}
            answer = json.loads(ask(f"/api/v1/query_range?{urlencode(query)}"))
            if answer["status"] != "success":
                raise ValueError(f"{panel['title']}: {answer['error']}")
            answers[f"{panel['title']}/{target['refId']}"] = answer["data"]["result"]
    return answers


def _board() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((HERE / "xdpdns.json").read_text())
    return board


def bundle() -> None:
    """Put panels.jsx and @grafana/ui together, as panels.js and panels.css in the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for source in (HERE / "render").iterdir():
        shutil.copy(source, CACHE)
    # What some libraries would load under Node.js only.
    (CACHE / "empty.js").write_text("module.exports = {};\n")
    # Grafana's packages name peers that its own build pins otherwise.
    npm = ["npm", "install", "--legacy-peer-deps", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(npm, cwd=CACHE, check=True, timeout=600)
    files = [f"--loader:.{ending}=dataurl" for ending in ("svg", "png", "woff", "woff2", "ttf")]
    esbuild = [
        str(CACHE / "node_modules" / ".bin" / "esbuild"),
        *("panels.jsx", "--outfile=panels.js", "--bundle", "--format=iife", "--minify"),
        *("--main-fields=browser,module,main", "--alias:stream=./empty.js"),
        *("--define:global=window", '--define:process.env.NODE_ENV="production"'),
        *(*files, "--log-level=error"),
    ]
    subprocess.run(esbuild, cwd=CACHE, check=True, timeout=120)


def draw(answers: Answers, rows: int, target: Path) -> None:
    """Draw the panels of the grid's first rows."""
    board = _board()
    board["panels"] = [
        panel
        for panel in board["panels"]
        if panel["type"] in DRAWN and panel["gridPos"]["y"] + panel["gridPos"]["h"] <= rows
    ]
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
        *(f"--window-size={WIDTH},{rows * ROW + 16}", f"--screenshot={shot}", page.as_uri()),
    ]
    subprocess.run(chromium, check=True, timeout=120, capture_output=True)
    Image.open(shot).convert("RGB").quantize(200).save(target, optimize=True)


if __name__ == "__main__":
    bundle()
    draw(json.loads(Path(sys.argv[1]).read_text()), rows=40, target=Path(sys.argv[2]))
