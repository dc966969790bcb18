"""Writes the dashboards as JSON beside this file: `python -m grafana.build`.

For Grafana 11.6 and later, which is what the pinned grafana-foundation-sdk knows. The JSON is
committed, since that is what people import; a test says when it isn't what this builds.
"""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Panel

from grafana.answers import answers
from grafana.fleet import fleet
from grafana.overview import overview
from grafana.parts import siblings
from grafana.triage import triage

FOLDER = Path(__file__).resolve().parent


def build() -> dict[Path, str]:
    """The files and their text."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    made = [maker().build() for maker in (overview, answers, fleet, triage)]
    for board in made:
        for number, panel in enumerate(board.panels or [], start=1):
            # Grafana would number them itself, and a link to one panel would not last.
            panel.id_val = number
            if isinstance(panel, Panel):
                panel.links = siblings(board.uid or "")
        for variable in board.templating.list_val or [] if board.templating else []:
            # The SDK writes these for all; the schema of 11.6 has them for none of ours.
            variable.auto = variable.auto_min = variable.auto_count = None
    return {FOLDER / f"{board.uid}.json": encoder.encode(board) + "\n" for board in made}


if __name__ == "__main__":
    for path, text in build().items():
        path.write_text(text)
