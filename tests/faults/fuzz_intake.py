"""Throws damaged requests at a receiver and fails on any 5xx, traceback or death.

python -m tests.faults.fuzz_intake [how many: 5000] [seed: 1]
"""

import asyncio
import json
import random
import string
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from tests.faults.receiver_process import TEAM, ReceiverProcess, post, receiver_process, signed
from workers.store.database import reading
from workers.store.schema import deliveries

AT_ONCE = 32
SILENCE = 1.0  # seconds; the receiver gives a body 0.2, and a head longer than we wait

ODD_TEXT = [
    "\0",
    "\ud800",
    "\uffff",
    "é",
    "\U0001f9ea",
    "9" * 5000,
    "-1",
    "",
    "2026-13-45T99:99:99Z",
    "{}",
    "%s%n",
]
ODD_NUMBERS = [0, -1, 2**31, 2**63, 2**64, 10**400, 1e308, float("nan"), float("inf"), -0.0, True]
FIELDS = [
    "id",
    "team_id",
    "user_id",
    "client_user_id",
    "events",
    "status",
    "details",
    "created_at",
    "lab_test",
]
FIELDS += ["patient_address", "last_event", "passthrough", "data", "event_type", "order_id", "start_at"]

Damage = Callable[[random.Random, int], bytes]


def an_order(dice: random.Random, number: int) -> dict[str, Any]:
    event = {"id": number, "created_at": "2026-03-04T12:00:00Z", "status": "received.testkit.ordered"}
    return {"id": f"order-{number % 500}", "details": {"type": "testkit"}, "events": [event]}


def a_body(dice: random.Random, number: int) -> bytes:
    envelope = {"event_type": "labtest.order.created", "team_id": TEAM, "data": an_order(dice, number)}
    return json.dumps(envelope).encode()


def a_delivery(dice: random.Random, number: int) -> bytes:
    body = a_body(dice, number)
    return post(body, signed(body, f"msg_{number}"))


def odd_json(dice: random.Random, number: int) -> bytes:
    envelope = {"event_type": "labtest.order.created", "team_id": TEAM, "data": an_order(dice, number)}
    for _ in range(dice.randint(1, 4)):
        place = dice.choice([envelope, envelope["data"]])
        if isinstance(place, dict):
            place[dice.choice(FIELDS)] = odd_value(dice, 3)
    body = json.dumps(envelope).encode()
    return post(body, signed(body, f"msg_{number}"))


def odd_value(dice: random.Random, depth: int) -> Any:
    match dice.randrange(5 if depth else 2):
        case 0:
            return dice.choice(ODD_TEXT)
        case 1:
            return dice.choice(ODD_NUMBERS)
        case 2:
            return [odd_value(dice, depth - 1) for _ in range(dice.randrange(4))]
        case 3:
            return {dice.choice(FIELDS): odd_value(dice, depth - 1) for _ in range(dice.randrange(4))}
    return json.loads("[" * (nesting := dice.choice([2, 60, 66, 400])) + "]" * nesting)


def damaged_body(dice: random.Random, number: int) -> bytes:
    body = bytearray(a_body(dice, number))
    for _ in range(dice.randint(1, 8)):
        body[dice.randrange(len(body))] = dice.randrange(256)
    body = body[: dice.choice([len(body), dice.randrange(len(body))])]
    return post(bytes(body), signed(bytes(body), f"msg_{number}"))


def odd_headers(dice: random.Random, number: int) -> bytes:
    body = a_body(dice, number)
    headers = signed(body, f"msg_{number}")
    for name in dice.sample(sorted(headers), dice.randint(1, 3)):
        headers[name] = dice.choice(
            ["", "v1,", "v1,=", "\xff\xfe", "9" * 30, "-1", "a b", "v1," + "A" * 5000, "v2,x v1,y v1,z"]
        )
    return post(body, headers)


def damaged_bytes(dice: random.Random, number: int) -> bytes:
    request = bytearray(a_delivery(dice, number))
    for _ in range(dice.randint(1, 6)):
        place = dice.randrange(min(400, len(request)))
        match dice.randrange(3):
            case 0:
                request[place] = dice.randrange(256)
            case 1:
                del request[place : place + dice.randint(1, 20)]
            case 2:
                request[place:place] = dice.randbytes(dice.randint(1, 10))
    return bytes(request)


def odd_chunks(dice: random.Random, number: int) -> bytes:
    body = a_body(dice, number)
    head = post(b"", signed(body, f"msg_{number}")).replace(
        b"content-length: 0", b"transfer-encoding: chunked"
    )
    chunks = b""
    while body:
        size = dice.randint(1, 200)
        said = dice.choice([size] * 30 + [0, -1, 2**64, size + 1])
        chunks += b"%x%s\r\n%s\r\n" % (max(said, 0), dice.choice([b"", b";x=y", b" "]), body[:size])
        body = body[size:]
    return head + chunks + dice.choice([b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"", b"0\r\n"])


def another_request(dice: random.Random, number: int) -> bytes:
    method = dice.choice(
        [
            "GET",
            "PUT",
            "HEAD",
            "OPTIONS",
            "TRACE",
            "CONNECT",
            "post",
            "".join(dice.choices(string.ascii_uppercase, k=5)),
        ]
    )
    path = dice.choice(
        ["/", "/livez", "/readyz", "/metrics", "/webhooks/junction", "/webhooks/junction/", "*", "//x"]
    )
    path += dice.choice(["", "?a=%00", "%ff%fe", "/../..", "#x"])
    return f"{method} {path} HTTP/{dice.choice(['1.1', '1.0', '2.0', '9.9'])}\r\nhost: door\r\n\r\n".encode()


def noise(dice: random.Random, number: int) -> bytes:
    return dice.randbytes(dice.randint(1, 2000)) + b"\r\n\r\n"


KINDS: list[Damage] = [
    a_delivery,
    odd_json,
    odd_json,
    damaged_body,
    odd_headers,
    damaged_bytes,
    odd_chunks,
    another_request,
    noise,
]


async def ask(port: int, request: bytes) -> str:
    """The status, or what happened instead."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        line = await asyncio.wait_for(reader.readline(), SILENCE)
    except TimeoutError:
        return "silence"
    except ConnectionError:
        return "closed"
    finally:
        writer.transport.abort()
    return line.split()[1].decode() if line else "closed"


async def fuzz(port: int, how_many: int, seed: int) -> Counter[str]:
    found: Counter[str] = Counter()
    numbers = iter(range(how_many))

    async def throw() -> None:
        for number in numbers:
            dice = random.Random(seed * 1_000_003 + number)
            damage = dice.choice(KINDS)
            found[f"{damage.__name__} {await ask(port, damage(dice, number))}"] += 1

    await asyncio.gather(*(throw() for _ in range(AT_ONCE)))
    return found


def verdict(receiver: ReceiverProcess, found: Counter[str]) -> list[str]:
    problems = [f"{count} × {what}" for what, count in found.items() if what.split()[1].startswith("5")]
    problems += receiver.complaints()[:5]
    if receiver.process.poll() is not None:
        problems.append("the receiver died")
    elif asyncio.run(ask(receiver.port, a_delivery(random.Random(), 10**9))) != "202":
        problems.append("a good delivery is no longer accepted")
    return problems


def main(how_many: int = 5000, seed: int = 1) -> int:
    with receiver_process(AUTOCANCEL_BODY_SECONDS="0.2") as receiver:
        before, started = receiver.memory(), time.monotonic()
        found = asyncio.run(fuzz(receiver.port, how_many, seed))
        seconds = time.monotonic() - started
        problems = verdict(receiver, found)
        with reading(receiver.store) as connection:
            states = connection.execute(select(deliveries.c.state, func.count()).group_by(deliveries.c.state))
            rows: dict[str, int] = dict(states.all())
        for what, count in sorted(found.items()):
            print(f"{count:7} {what}")
        print(f"{how_many} requests in {seconds:.0f} s; rows: {rows}")
        print(f"memory: {before:.0f} MiB before, {receiver.memory():.0f} MiB after")
    for problem in problems:
        print("FAILED:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
