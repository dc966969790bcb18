"""What can be said of an `attach` before anything is compiled, bound or attached.

For `--dry-run`; and where the port is taken, since then it is mostly the interface that is counted
already, or mistyped, that wants to be mended.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xdpdns import netns, privileges
from xdpdns.errors import OccupiedError
from xdpdns.holders import Holders
from xdpdns.hooks import Hooks, owner

if TYPE_CHECKING:
    from xdpdns.app import AgentSettings


def dry_run(settings: AgentSettings) -> str:
    """See whether this could be attached, as far as that can be seen, and say what would be done.

    An interface that is counted already is no obstacle: the run may be before a reload. As root it
    leaves the process as the user that was asked for.

    Raises:
        AttachError: a namespace or an interface is absent.
        SettingsError: that user can't read what it would have to.
    """
    names = netns.in_thread(lambda: _names(settings, free=False))
    if settings.user is not None and settings.web_config is not None and os.geteuid() == 0:
        privileges.become(settings.user)
        settings.web_config.require_readable(settings.user)
    where = settings.hook.upper() + ("" if settings.mode == "auto" else f" ({settings.mode})")
    shown = ", ".join(str(address) for address in settings.listen)
    grows = " and others as they come" if settings.selection.grows else ""
    return (
        f"The options can be used: {', '.join(names) or 'no interface yet'}{grows} would be "
        f"counted at {where}, and served at {shown}."
    )


def look(settings: AgentSettings) -> None:
    """See that the interfaces are there, and free for us.

    Raises:
        AttachError: a namespace or an interface is absent.
        OccupiedError: somebody counts there already, or has the hook.
    """
    netns.in_thread(lambda: _names(settings, free=True))


def _names(settings: AgentSettings, free: bool) -> list[str]:
    """The interfaces to begin with; belongs to a thread of its own."""
    if settings.netns is not None:
        netns.enter(settings.netns)
    selection = settings.selection
    with Hooks() as hooks:
        there = [link.name for link in hooks.links()]
        selection.require_matches(there)
        for link in [hooks.link(name) for name in selection.names]:
            if free and settings.keep:
                for one in hooks.found(link):
                    if owner.is_ours(one.program_id) and Holders().of(one.program_id):
                        raise OccupiedError(
                            owner.counted_already(link.name, one.program_id, one.mode)
                        )
            elif free:
                hooks.check(link.name, settings.hook)
    return [*selection.names, *(name for name in there if selection.follows(name))]
