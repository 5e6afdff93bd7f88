"""Sends a receiver more than it can hold, in every way we know, and fails if its memory follows.

python -m tests.faults.giant_post [MiB: 1024]
"""

import socket
import sys
from collections.abc import Iterator
from contextlib import suppress

from tests.faults.receiver_process import ReceiverProcess, post, receiver_process, signed

MIB = 1 << 20
MAY_GROW = 32.0  # MiB

HEAD = b"POST /webhooks/junction HTTP/1.1\r\nhost: door\r\n"
JSON = HEAD + b"content-type: application/json\r\n"
CHUNKED = JSON + b"transfer-encoding: chunked\r\n\r\n"

WAYS = {
    "a body in chunks": (CHUNKED, b"100000\r\n" + b" " * MIB + b"\r\n"),
    "a body of small chunks": (CHUNKED, b"1\r\n \r\n" * (MIB // 6)),
    "a body as long as it said": (JSON + b"content-length: 1099511627776\r\n\r\n", b" " * MIB),
    "a body nobody asked for": (HEAD + b"content-length: 1099511627776\r\n\r\n", b" " * MIB),
    "one header": (HEAD + b"x: ", b"x" * MIB),
    "many headers": (HEAD, b"x: y\r\n" * (MIB // 6)),
    "a path": (b"POST /", b"x" * MIB),
    "a chunk extension": (CHUNKED + b"1;", b"x" * MIB),
    "trailers": (CHUNKED + b"0\r\n", b"x: y\r\n" * (MIB // 6)),
}


def pour(port: int, start: bytes, more: bytes, mib: int) -> int:
    """How many MiB the receiver took before it closed the connection."""
    taken = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, suppress(ConnectionError):
        connection.sendall(start)
        while taken < mib:
            connection.sendall(more)
            taken += 1
    return taken


def measure(receiver: ReceiverProcess, mib: int) -> Iterator[str]:
    """What went wrong."""
    before = receiver.memory()
    for name, (start, more) in WAYS.items():
        taken = pour(receiver.port, start, more, mib)
        grown = receiver.memory("VmHWM") - before
        print(f"{name:26} took {taken:5} of {mib} MiB; grown by at most {grown:.1f} MiB so far")
        if grown > MAY_GROW:
            yield f"after {name} the receiver had grown by {grown:.0f} MiB"


def answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(post(b"{}", signed(b"{}", "msg_after")))
        return connection.recv(100).startswith(b"HTTP/1.1 202")


def main(mib: int = 1024) -> int:
    with receiver_process() as receiver:
        problems = list(measure(receiver, mib))
        if not answers(receiver.port):
            problems.append("a good delivery is no longer accepted")
        problems += receiver.complaints()
    for problem in problems:
        print("FAILED:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
