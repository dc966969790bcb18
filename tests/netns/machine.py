"""A machine with a real systemd: this one's files under an overlay, its network the lab's server.

::

    with Machine(lab) as machine:
        machine.run(["systemctl", "is-system-running"])

systemd-nspawn starts it in a mount, PID, IPC and UTS namespace of its own; what is written goes to
a tmpfs and is gone at the end. It reaches basic.target: a journal, but none of this machine's
services, nor its policy on what packages may start. udev does not run there: a unit that wants an
interface's device waits a second in vain.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.netns.lab import PATIENCE, Lab, wait_until

ROOT = Path(__file__).parents[2]

BOOT = """
root=$1
mount -t tmpfs tmpfs "$root"
mkdir "$root/upper" "$root/work" "$root/root"
# copied: it lies in what is below, and so can't be a layer beside that
[ -z "$3" ] || cp -a "$3/." "$root/upper"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/root"
mkdir "$root/tree" "$root/above" "$root/work-above"
mount -t overlay overlay -o "lowerdir=$4,upperdir=$root/above,workdir=$root/work-above" "$root/tree"
cd "$root/root"
: >etc/machine-id
rm -f usr/sbin/policy-rc.d
mkdir -p etc/systemd/system.conf.d
printf '[Manager]\nDefaultDeviceTimeoutSec=1s\n' >etc/systemd/system.conf.d/test.conf
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$root/root" --capability=all \
  --system-call-filter=bpf --bind="$2" --bind="$root/tree:$4" --console=read-only \
  --boot systemd.unit=basic.target
"""


INSTALL = """
cd "$1"
mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t proc proc root/proc
cp "$2" root/root/package.deb
chroot root dpkg --install /root/package.deb
rm root/root/package.deb
"""


def install_layer(package: Path, folder: Path) -> Path:
    """Install a Debian package over this machine's files; the folder of what that changes.

    No service is started: no systemd runs there.
    """
    argv = ["unshare", "--mount", "bash", "-euc", INSTALL, "install", str(folder), str(package)]
    done = subprocess.run(argv, text=True, capture_output=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{package} can't be installed: {done.stdout}{done.stderr}")
    return folder / "upper"


class Machine:
    """It runs within the `with` block; its processes can be seen from here, by their ids here.

    `layer` is what install_layer() made. `shared` is a folder that is the same here and there.
    """

    def __init__(self, lab: Lab, layer: Path | None = None) -> None:
        self._lab = lab
        self._layer = str(layer or "")
        self._leader = 0
        self.shared = lab.tmp / "shared"

    def __enter__(self) -> Self:
        root = self._lab.tmp / "machine"
        for folder in (root, self.shared):
            folder.mkdir()
        # the tree by name: in a /tmp, which is the machine's own, it would not be there
        arguments = (str(root), str(self.shared), self._layer, str(ROOT))
        argv = ["unshare", "--mount", "bash", "-euc", BOOT, "boot", *arguments]
        self._process = self._lab.start(self._lab.server, argv, "machine")
        try:
            self._process.wait_until("the machine's systemd", self._is_up)
            self.run(["mount", "-t", "bpf", "-o", "mode=700", "bpf", "/sys/fs/bpf"])
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.run(["systemctl", "halt", "--force", "--force"], check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.stop()
        self._process.kill()
        # nspawn leaves those that it made beside its own
        for name in ("payload", "supervisor"):
            for top in Path("/sys/fs/cgroup").glob(f"*/{name}"):
                for folder, _, _ in os.walk(top, topdown=False):
                    with contextlib.suppress(OSError):  # a process is about to end
                        Path(folder).rmdir()

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end, output as text."""
        flags = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        enter = ["nsenter", f"--target={self._leader}", *flags, "--", *argv]
        done = subprocess.run(
            enter, text=True, capture_output=True, timeout=timeout, stdin=subprocess.DEVNULL
        )
        if check and done.returncode:
            raise RuntimeError(f"{argv} exited {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def show(self, unit: str, name: str) -> str:
        """A property of a unit, as `systemctl show` has it."""
        return self.run(["systemctl", "show", "--value", f"--property={name}", unit]).stdout.strip()

    def wait_for(self, unit: str, name: str, value: str, timeout: float = PATIENCE) -> None:
        """Wait until a property has this value; the journal says why if it doesn't get it."""
        try:
            wait_until(f"{name}={value}", lambda: self.show(unit, name) == value, timeout)
        except TimeoutError as error:
            journal = self.run(["journalctl", "--no-pager", "-u", unit]).stdout
            raise TimeoutError(f"{error}: {journal}") from None

    def main_pid(self, unit: str) -> int:
        """The process id here of a unit's main process there."""
        inside = self.show(unit, "MainPID")
        for status in Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                ours = (status.parent / "ns/pid").samefile(f"/proc/{self._leader}/ns/pid")
                [ids] = re.findall(r"^NSpid:\t(.*)$", status.read_text(), re.MULTILINE)
                if ours and ids.split()[-1] == inside:
                    return int(status.parent.name)
        raise LookupError(f"{unit} has no process {inside}")

    def _is_up(self) -> bool:
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if not children:
            return False
        self._leader = int(children[0])
        state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
        return state in ("running", "degraded")
