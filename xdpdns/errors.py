"""The exceptions that xdpdns raises on purpose.

The tree::

    XdpdnsError                 anything below; the command prints its text and exits 1
      KernelError               a bpf(2) call that failed, with its errno
        CompileError            the BPF program did not compile or verify
        MissingNeedError        root, a capability, python3-bpfcc, a kernel feature
      AttachError               the interface is absent, down, or could not take the program
        OccupiedError           somebody else's program is on the hook
        NotRunningError         no program of ours is on the hook
      UnreadableError           a program of ours counts, but this xdpdns can't say what
      PinError                  the BPF file system, or what is pinned there, can't be used
      CaptureError              a capture that can't be read, or not to its end
      ListenError               an address that the HTTP server could not bind
      SupervisorError           the process that watches the interfaces has ended
      SettingsError             a value of an option that can't be used; the command exits 2

Every text is one sentence that names the thing, the cause and the mend, so that the command line
prints it as it is: ``eth0 is down: bring it up with `ip link set eth0 up`.``
"""

from __future__ import annotations


class XdpdnsError(Exception):
    """Base of every error that a user can mend; `str(error)` is the whole message."""


class KernelError(XdpdnsError):
    """A bpf(2) call failed.

    `errno` is the kernel's number (0 where the failure was not a system call's).
    """

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class CompileError(KernelError):
    """The BPF program did not compile, or the kernel's verifier refused it."""


class MissingNeedError(KernelError):
    """Something that xdpdns needs of the machine is not there."""


class AttachError(XdpdnsError):
    """The interface is absent, down, or could not take the program."""


class OccupiedError(AttachError):
    """Somebody else's program is on the hook; xdpdns never replaces it."""


class NotRunningError(AttachError):
    """No program of ours counts on the interface."""


class UnreadableError(XdpdnsError):
    """A program of ours counts, but this xdpdns can't say what."""


class PinError(XdpdnsError):
    """The BPF file system, or what is pinned there, can't be used."""


class CaptureError(XdpdnsError):
    """A capture that can't be read, or not to its end.

    `offset` is the byte in the (uncompressed) file where reading stopped.
    """

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(message)
        self.offset = offset


class ListenError(XdpdnsError):
    """The HTTP server could not bind an address."""


class SupervisorError(XdpdnsError):
    """The process that attaches and watches has ended, or can't be understood."""


class SettingsError(XdpdnsError):
    """The value of an option can't be used."""
