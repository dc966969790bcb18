"""Checks the dashboards against the schema of Grafana 11.6.0: `python -m grafana.schema`.

The schema is @grafana/schema's types; each dashboard and panel becomes a literal of its type, which
TypeScript takes only if every field is known and every value allowed. It needs npm and keeps its
packages where :mod:`grafana.picture` does. Prints what is wrong; exit code 1 if anything is.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path.home() / ".cache" / "xdpdns-panels"
# Where @grafana/schema keeps the types of a panel's `options` and `fieldConfig.defaults.custom`.
KINDS = {
    "timeseries": "timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen",
    "stat": "stat/panelcfg/x/StatPanelCfg_types.gen",
    "bargauge": "bargauge/panelcfg/x/BarGaugePanelCfg_types.gen",
    "table": "table/panelcfg/x/TablePanelCfg_types.gen",
    "heatmap": "heatmap/panelcfg/x/HeatmapPanelCfg_types.gen",
}
HEAD = """\
import type { Dashboard, Panel, RowPanel, TableFieldOptions } from '@grafana/schema';
// JSON has an enumeration's values as plain text, and may leave out what has a default.
type Plain<T> = T extends string
  ? `${T}`
  : T extends object
    ? { [K in keyof T]?: Plain<T[K]> }
    : T;
"""


def literals() -> Iterator[str]:
    """The TypeScript that must compile."""
    yield HEAD
    for kind, module in KINDS.items():
        source = f"@grafana/schema/dist/esm/raw/composable/{module}"
        yield f"import type * as {kind} from './node_modules/{source}.js';"
    count = 0
    for path in sorted(HERE.glob("*.json")):
        board = json.loads(path.read_text())
        panels = board.pop("panels")
        made = [("Dashboard", board)]
        for panel in panels:
            kind = panel["type"]
            if kind == "row":
                made.append(("RowPanel", panel))
                continue
            made.append(("Panel", panel))
            made.append((f"{kind}.Options", panel.get("options", {})))
            custom = panel["fieldConfig"]["defaults"].get("custom", {})
            if kind == "table":
                made.append(("TableFieldOptions", custom))
            elif kind in ("timeseries", "heatmap"):
                made.append((f"{kind}.FieldConfig", custom))
        for name, value in made:
            count += 1
            yield f"// {path.name}: {value.get('title', '')}"
            yield f"export const v{count}: Plain<{name}> = {json.dumps(value)};"


def main() -> int:
    """Write it, compile it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "render" / "package.json", CACHE)
    npm = ["npm", "install", "--legacy-peer-deps", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(npm, cwd=CACHE, check=True, timeout=600)
    lines = list(literals())
    (CACHE / "schema.ts").write_text("\n".join(lines) + "\n")
    tsc = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022"]
    tsc += ["--module", "nodenext", "--moduleResolution", "nodenext", "schema.ts"]
    command = [str(CACHE / "node_modules" / ".bin" / "tsc"), *tsc]
    done = subprocess.run(command, cwd=CACHE, capture_output=True, text=True, timeout=120)
    literal_count = sum(line.startswith("export") for line in lines)
    sys.stdout.write(done.stdout or f"{literal_count} literals fit Grafana 11.6.0's schema.\n")
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
