"""HTTP basic authentication (RFC 7617) against bcrypt hashes, without giving anything away."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum

_REMEMBERED = 256
_WAITING = 16
_BCRYPT_BYTES = 72
"""bcrypt reads no further; its Python library refuses more, where Go's reads on silently."""

# the hash of a password that nobody has, for users that nobody is
_DECOY = b"8ivlnEwjqSbdq2pMrhOiHuEVY1mBD9r8vLcZgP3mzbHyyGKFvDE8W"


class Verdict(Enum):
    """What came of a check."""

    ALLOWED = 1
    REFUSED = 2
    BUSY = 3
    """Too many unknown passwords wait for their check; those known to be right never do."""


class BasicAuth:
    """Checks credentials; remembers the verdicts, since one bcrypt costs tens of milliseconds.

    What is remembered is keyed by a digest under a key of this process: no password is kept, and a
    changed hash is asked anew. Wrong guesses can't push out what is right. A user that doesn't
    exist takes as long as one that does.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, bool] = OrderedDict()
        self._wrong: OrderedDict[bytes, bool] = OrderedDict()
        self._checks: dict[bytes, asyncio.Task[bool]] = {}
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="bcrypt")

    async def check(self, users: Mapping[str, bytes], authorization: str) -> Verdict:
        """Check an Authorization header against the users' bcrypt hashes."""
        credentials = _decoded(authorization)
        if credentials is None or not users:
            return Verdict.REFUSED
        user, password = credentials
        hashed = users.get(user) or max(users.values(), key=_cost)[:7] + _DECOY
        digest = self._digest(user, password, hashed)
        if digest in self._right:
            self._right.move_to_end(digest)
            return Verdict.ALLOWED
        if digest in self._wrong:
            return Verdict.REFUSED
        check = self._checks.get(digest)
        if check is None:
            if len(self._checks) >= _WAITING:
                return Verdict.BUSY
            check = asyncio.create_task(self._verify(digest, password, hashed, user in users))
            self._checks[digest] = check
        # others may wait for the same verdict
        return Verdict.ALLOWED if await asyncio.shield(check) else Verdict.REFUSED

    async def _verify(self, digest: bytes, password: bytes, hashed: bytes, exists: bool) -> bool:
        import bcrypt  # only where users are configured: an extra, not a dependency

        loop = asyncio.get_running_loop()
        try:
            same = await loop.run_in_executor(
                self._worker, bcrypt.checkpw, password[:_BCRYPT_BYTES], hashed
            )
        finally:
            del self._checks[digest]
        verdict = same and exists
        memory = self._right if verdict else self._wrong
        memory[digest] = verdict
        if len(memory) > _REMEMBERED:
            memory.popitem(last=False)
        return verdict

    def _digest(self, user: str, password: bytes, hashed: bytes) -> bytes:
        name = user.encode("utf-8", "surrogateescape")
        message = b"%d:%d:" % (len(name), len(password)) + name + password + hashed
        return hmac.digest(self._key, message, "sha256")

    def close(self) -> None:
        """Start no more checks."""
        self._worker.shutdown(wait=False, cancel_futures=True)


def _cost(hashed: bytes) -> bytes:
    return hashed[4:6]


def _decoded(authorization: str) -> tuple[str, bytes] | None:
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(token.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return (user.decode("utf-8", "surrogateescape"), password) if colon else None
