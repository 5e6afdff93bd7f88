"""SHA-256 of what comes in, without letting go of the interpreter.

hashlib does so for 2 kB and more at once. Getting it back from the thread that writes may take 5 ms, the hash
takes 5 µs: in pieces, intake wrote the same deliveries in a third of the transactions.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

PIECE = 2047  # bytes, of which hashlib makes no fuss


def sha256_hex(body: bytes) -> str:
    digest = hashlib.sha256()
    for piece in _pieces(body):
        digest.update(piece)
    return digest.hexdigest()


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    digest = hmac.new(key, digestmod="sha256")
    for piece in _pieces(message):
        digest.update(piece)
    return digest.digest()


def _pieces(body: bytes) -> Iterator[memoryview]:
    view = memoryview(body)
    return (view[start : start + PIECE] for start in range(0, len(view), PIECE))
