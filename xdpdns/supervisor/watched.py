"""One interface that is being watched: put on, looked after, put on again, taken off."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from xdpdns.errors import AttachError, OccupiedError, XdpdnsError
from xdpdns.hooks import Attachment, Direction, Link
from xdpdns.keep import Keeper
from xdpdns.loader import LoadedProgram
from xdpdns.roles import Way
from xdpdns.supervisor.backoff import Backoff
from xdpdns.supervisor.messages import State
from xdpdns.supervisor.tools import Tools

log = logging.getLogger(__name__)

_WHICH = {"ingress": "incoming", "egress": "outgoing"}
_AT_TC = {"tcx": "TCX", "clsact": "clsact"}


class Watched:
    """An interface, from reserve() to close(); `number` is what the agent knows it by.

    It is followed by its index, so a rename changes only `name`; made anew under the same name, it
    gets the same program, and the counters go on. Our program is put back where nothing is; another
    one's stays, and ours comes back when that has gone. While `stays` is true, close() leaves it
    all in the kernel.

    `optional` is for those that came by a pattern: they may come to nothing.
    """

    def __init__(self, number: int, name: str, tools: Tools, optional: bool) -> None:
        self.number = number
        self.name = self.wanted = name
        self.optional = optional
        self.index = 0
        self.stays = False
        self.programs: dict[Way, LoadedProgram] = {}
        self.absent_since: float | None = None
        self.state = State(number, name, "starting", f"{name} is not attached yet.", {})
        self._tools = tools
        self._keeper: Keeper | None = None
        self._attachments: dict[Direction, Attachment] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._loads: dict[Way, Future[LoadedProgram]] = {}
        self._going_on: list[Way] = []
        self._backoff = Backoff()
        self._seen: tuple[bool, int] | None = None

    # --- the start ------------------------------------------------------------------------------

    def reserve(self) -> None:
        """See that the interface can be had, before anything is loaded.

        Raises:
            AttachError: absent, or down without a program that was kept.
            OccupiedError: another program or agent has it.
            PinError: the BPF file system can't be used.
        """
        link = self._tools.hooks.link(self.name)
        self.index = link.index
        if not self._tools.keep:
            self._check()
            return
        keeper = Keeper(link, self._tools.hooks)
        try:
            self._check(but=keeper.old.keys())
            if not keeper.old:
                keeper.tidy()
        except BaseException:
            keeper.close(unpin=False)
            raise
        self._keeper = keeper
        # Whatever becomes of this start: what was counted before it goes on being counted.
        self.stays = bool(keeper.old)

    def _check(self, but: Collection[Direction] = ()) -> None:
        """See whether the hooks take what is to be attached, `but` for these directions."""
        for direction in self._tools.entries:
            if direction not in but and direction not in self._attachments:
                self._tools.hooks.check(self.name, self._tools.hook_of(direction), direction)

    def load(self) -> None:
        """Begin to load what is compiled, while the rest of it is: begin() goes on from there.

        Raises:
            AttachError: what was kept is on another hook or in another mode.
            PinError: what was kept can't be read.
        """
        keeper, tools = self._keeper, self._tools
        if keeper is not None:
            self._refuse_other_hooks(keeper)
        for way, settings in tools.programs.items():
            if way in self._loads:
                continue
            compiled = tools.compiled.get(settings)
            if compiled is None and settings.timing:
                return  # the one whose maps the other shares comes first
            if compiled is None:
                continue
            maps = None
            if keeper is not None:
                entry = tools.entries[way.direction] == way
                maps = keeper.maps(way, compiled, settings, entry)
            if maps is not None:
                self._going_on.append(way)
            # What one program notes of a query, the other must find: the same maps.
            partner = self._loads.get(way.partner) if settings.timing else None
            shared = partner.result().maps if partner else None
            # a pool that ends with the load: its threads would keep the power that is dropped later
            self._pool = self._pool or ThreadPoolExecutor(len(tools.programs))
            self._loads[way] = self._pool.submit(LoadedProgram, compiled, settings, maps, shared)

    def begin(self) -> None:
        """Load the programs and attach them, or have them take over from what was kept.

        Raises:
            AttachError: as Hooks.attach(); or what was kept is on another hook or in another mode.
        """
        link = self._tools.hooks.link(self.name)
        keeper = self._keeper
        self.load()
        going_on = self._loaded()
        if keeper is not None:
            for way, program in self.programs.items():
                keeper.pin(way, program.fd, program.maps)
        # After what may fail: a program that was kept goes on in the same maps, and would hand over
        # to counters that nobody reads.
        for way, program in self.programs.items():
            if self._tools.programs[way].hands_over:
                program.hand_over(self.programs[Way(way.direction, "responses")])
        if keeper is not None:
            for direction, way in self._tools.entries.items():
                if direction in keeper.old:
                    taken = keeper.take_over(link, direction, self.programs[way].fd)
                    self._attachments[direction] = taken
                    keeper.attached(taken)
            for direction in keeper.old.keys() - self._tools.entries.keys():
                keeper.give_up(link, direction)
        self._attach(link)
        if keeper is not None:
            keeper.say(going_on)

    def _loaded(self) -> list[Way]:
        """Wait for the programs; those that go on with counters that were kept."""
        loads, going_on = self._loads, self._going_on
        self._loads, self._going_on = {}, []
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self.programs = {
            way: loads[way].result()
            for way in self._tools.programs
            if way in loads and not loads[way].exception()
        }
        for one in loads.values():
            one.result()  # raises why it was not loaded
        return going_on

    def _refuse_other_hooks(self, keeper: Keeper) -> None:
        for direction, old in keeper.old.items():
            if direction not in self._tools.entries:
                continue
            hook = self._tools.hook_of(direction)
            if hook != old.found.hook:
                asked = f"--hook {self._tools.hook}"
            elif hook == "xdp" and self._tools.mode not in ("auto", old.found.mode):
                asked = f"--mode {self._tools.mode}"
            else:
                continue
            raise AttachError(
                f"{self.name} is being counted in {old.found.mode} mode by a program that was "
                f"kept: `xdpdns detach {self.name}` first, or leave `{asked}` away."
            )

    def _attach(self, link: Link) -> None:
        """Attach what isn't attached."""
        for direction, way in self._tools.entries.items():
            if direction not in self._attachments:
                attachment = self._tools.hooks.attach(
                    link.name,
                    self.programs[way].fd,
                    self._tools.hook_of(direction),
                    direction,
                    self._tools.mode,
                )
                self._attachments[direction] = attachment
                if self._keeper is not None:
                    self._keeper.attached(attachment)

    @property
    def modes(self) -> list[str]:
        """The modes of what is attached."""
        return [attachment.mode for attachment in self._attachments.values()]

    # --- from then on ---------------------------------------------------------------------------

    def look(self, link: Link | None) -> bool:
        """Compare with the interface as it is now, and put right what is ours to put right.

        `link` is None where there is no such interface. Returns whether the state has changed.
        """
        reason, detail = self._put_right(link)
        attached = self._attachments if reason in ("", "down") else {}
        before, self.state = (
            self.state,
            State(
                self.number,
                self.name,
                reason,
                detail,
                {direction: (one.mode, one.program_id) for direction, one in attached.items()},
            ),
        )
        if before.reason != reason:
            self._say(before)
        return before != self.state

    def _put_right(self, link: Link | None) -> tuple[str, str]:
        """The reason why it is not counted, and the sentence; both empty if it is."""
        if link is None:
            self.absent_since = self.absent_since or time.monotonic()
            self._let_go()
            self.index, self._seen = 0, None
            return "absent", f"there is no interface {self.name}: it is counted when it is back."
        self.absent_since = None
        if link.index != self.index:
            self._let_go()
            self.index = link.index
            self._backoff.reset()
        self._follow(link)
        if self._seen != (link.up, link.mtu):
            self._seen = link.up, link.mtu
            self._backoff.reset()
        lost = False
        for direction, attachment in list(self._attachments.items()):
            there = self._tools.hooks.look(attachment, link)
            if there is None:
                lost = True
                attachment.close()
                del self._attachments[direction]
            elif there != attachment.program_id:
                return "replaced", (
                    f"another program (id {there}) replaced ours on {self.name}: ours comes back "
                    "when that has gone."
                )
        if self._attachments.keys() != self._tools.entries.keys():
            if not self._backoff.ready():
                return self._still_missing()
            try:
                self._again(link)
            except OccupiedError as error:
                return "occupied", str(error)
            except XdpdnsError as error:
                return ("refused" if link.up else "down"), str(error)
            if lost:
                extra = {"interface": self.name, "reason": "detached"}
                log.warning("A program was taken off %s: attached again.", self.name, extra=extra)
        if not link.up:
            return "down", f"{self.name} is down: no packets arrive until it is up again."
        return "", ""

    def _still_missing(self) -> tuple[str, str]:
        """The reason between two attempts."""
        if self.state.reason in ("", "down"):
            return "detached", f"our program was taken off {self.name}, more than once."
        return self.state.reason, self.state.detail

    def _follow(self, link: Link) -> None:
        if link.name != self.name:
            log.info("%s is now called %s.", self.name, link.name, extra={"interface": link.name})
            self.name = link.name
        for attachment in self._attachments.values():
            attachment.interface = link.name

    def _again(self, link: Link) -> None:
        """Attach after the start: the same programs, if there were any ever."""
        if self.programs:
            if self._keeper is not None:
                self._keeper.move(link)
            self._attach(link)
            return
        if self._keeper is None:
            self.reserve()
        else:
            self._check()
        try:
            self.begin()
        except XdpdnsError:
            self._unload()
            raise
        self.stays = self._tools.keep

    def _unload(self) -> None:
        if self._loads:  # the start failed before they were waited for
            with suppress(XdpdnsError):
                self._loaded()
        for program in self.programs.values():
            program.close()
        self.programs.clear()

    def _let_go(self) -> None:
        """The interface went away: for good, or to another network namespace with our programs."""
        for direction, attachment in self._attachments.items():
            if self._keeper is not None:
                self._keeper.let_go(direction)
            attachment.close()
        self._attachments.clear()

    def _say(self, before: State) -> None:
        """One line for each change; logs.py holds back what comes too often."""
        extra = {"interface": self.name, "reason": self.state.reason}
        if self.state.reason:
            log.warning("%s", self.state.detail, extra=extra)
        elif before.reason == "starting":
            log.info("Counting on %s: %s.", self.name, self._where(), extra=extra)
        else:
            log.info("%s is counted again (it was: %s).", self.name, before.reason, extra=extra)

    def _where(self) -> str:
        """What is counted at which hook, in words."""
        both = len(self.programs) > len(self._attachments)
        said = []
        for direction, one in self._attachments.items():
            sides = " and ".join(way.side for way in self.programs if way.direction == direction)
            which = f"{_WHICH[direction]} {sides}" if both else sides
            at = f"XDP ({one.mode})" if one.hook == "xdp" else _AT_TC[one.hook]
            said.append(f"{which} at {at}")
        return ", ".join(said)

    # --- the end --------------------------------------------------------------------------------

    def close(self) -> None:
        """Take our program off if it is still there and needn't stay; close everything."""
        for attachment in reversed(self._attachments.values()):
            try:
                if not self.stays:
                    self._tools.hooks.detach(attachment)
            except XdpdnsError as error:
                log.warning("Nothing to detach: %s", error, extra={"interface": self.name})
            finally:
                attachment.close()
        self._attachments.clear()
        self._unload()
        if self._keeper is not None:
            self._keeper.close(unpin=not self.stays)
            self._keeper = None
