"""What a wheel has beside the package: manual pages, and the scripts of completion."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_COMPLETION = {
    "bash": "share/bash-completion/completions/xdpdns",
    "zsh": "share/zsh/site-functions/_xdpdns",
    "fish": "share/fish/vendor_completions.d/xdpdns.fish",
}


class ManualHook(BuildHookInterface[Any]):
    """Generates the files into build/share, and has them installed below share/."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Before a wheel is made; an editable one goes without."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from xdpdns.cli import main
        from xdpdns.cli.completion import script
        from xdpdns.man import write

        folder = Path(self.root, "build", "share")
        shared: dict[str, str] = build_data["shared_data"]
        for page in write(folder / "man" / "man1"):
            shared[str(page)] = f"share/man/man1/{page.name}"
        for shell, place in _COMPLETION.items():
            path = folder / shell
            path.write_text(script(main, shell))
            shared[str(path)] = place
