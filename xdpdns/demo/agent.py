"""The real agent as a child process, seen as Prometheus sees it: by its /metrics."""

from __future__ import annotations

import ctypes
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

from xdpdns import vocab
from xdpdns.errors import XdpdnsError
from xdpdns.listen import Address

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_libc = ctypes.CDLL(None)

_SERVING = re.compile(r"Serving http://(\S+)/metrics")
# as click begins an error of use, and the log of a file (logs.by_time) any other
_ERROR = re.compile(r"^(?:\S+Z error|Error): ")
_END_WITHIN = 5.0
"""Seconds for the agent to end when it is asked to, and for its supervisor once it has."""


class Agent:
    """`xdpdns attach eth0` in another namespace, listening in this one, from `with` to its end.

    It is in a process group of its own, so that Ctrl-C reaches only us, who ask it for its last
    numbers and then end it; and it ends when we are killed.
    """

    def __init__(self, namespace: int, listen: Address) -> None:
        # options in /etc are for the user's own agent, as those in the environment are
        self._argv = [sys.executable, "-m", "xdpdns", "--config", os.devnull, "attach", "eth0"]
        self._argv += ["--netns", f"/proc/self/fd/{namespace}", "--web.listen-address", str(listen)]
        self._namespace = namespace
        self.address = ""

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        # An agent that has to be killed leaves us its supervisor, to be waited for.
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
        parent = os.getpid()

        def end_with_parent() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

        self._process = subprocess.Popen(
            self._argv,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={k: v for k, v in os.environ.items() if not k.startswith("XDPDNS_")},
            pass_fds=(self._namespace,),
            process_group=0,
            preexec_fn=end_with_parent,  # safe: no other thread runs yet
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it as Ctrl-C does, and wait; its supervisor takes the program off, and ends too."""
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        deadline = time.monotonic() + _END_WITHIN
        with suppress(ChildProcessError):  # there is no child any more
            while time.monotonic() < deadline:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.01)
        self._log.close()

    def wait(self, stop: threading.Event) -> bool:
        """Wait until it serves, at `address`; False if `stop` came first.

        Raises:
            XdpdnsError: it ended; with its own words.
        """
        while not stop.wait(0.01):
            ended = self._process.poll() is not None
            # not read(): the offset is the child's as well
            said = os.pread(self._log.fileno(), 1 << 16, 0).decode(errors="replace")
            if match := _SERVING.search(said):
                self.address = match[1]
                return True
            if ended:
                lines = said.strip().splitlines() or ["the agent ended without a word."]
                raise XdpdnsError(_ERROR.sub("", lines[-1]))
        return False

    def counted(self) -> dict[str, Counter[str]]:
        """Scrape it, and sum up what arrives: by `outcome` and vocab.DIMENSIONS, counts by value.

        Raises:
            XdpdnsError: it doesn't answer.
        """
        found: dict[str, Counter[str]] = {
            name: Counter() for name in ("outcome", *vocab.DIMENSIONS)
        }
        for family in text_string_to_metric_families(self._scrape()):
            for sample in family.samples:
                # what leaves is the kernel's own: that no port is open
                if not sample.value or sample.labels.get("direction") == "egress":
                    continue
                if sample.name == "xdpdns_packets_total":
                    found["outcome"][sample.labels["outcome"]] += int(sample.value)
                elif sample.name == "xdpdns_queries_total":
                    for name in vocab.DIMENSIONS:
                        found[name][sample.labels[name]] += int(sample.value)
        return found

    def _scrape(self) -> str:
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/metrics")
            response = connection.getresponse()
            text = response.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise XdpdnsError(
                f"http://{self.address}/metrics does not answer ({error}): was the agent killed?"
            ) from error
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise XdpdnsError(f"http://{self.address}/metrics answers {response.status}: {text}")
        return text
