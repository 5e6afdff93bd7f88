"""Events that got lost are asked for once more, by a worker, and what Junction said is kept."""

from datetime import timedelta

import pytest

from tests.workers.conftest import World
from workers.messages import ResendEvents
from workers.resending import NotNow
from workers.store import audit_reads, previews, resends
from workers.store.database import reading, store_time, writing
from workers.store.resends import Resend


def ask(world: World, *, days: float = 1, confirmed: bool = True) -> str:
    """The wish for the last so many days, as the dashboard leaves it."""
    with writing(world.store) as connection:
        now = store_time(connection)
        span = [(now - timedelta(days=days)).isoformat(), now.isoformat()]
        previews.freeze(connection, "wish", "ana", resends.ACTION, span, now)
        if confirmed:
            previews.claim(connection, "wish", "ana", now)
    return "wish"


def read(world: World) -> Resend | None:
    with reading(world.store) as connection:
        return resends.find(connection, "wish")


def arrived(world: World) -> int:
    with reading(world.store) as connection:
        wish = resends.find(connection, "wish")
        assert wish is not None
        return resends.arrived(connection, wish)


def asked(world: World) -> int:
    return len(world.sandbox.calls(operation="resend_events"))


def test_junction_is_asked_and_what_comes_is_counted(world: World) -> None:
    orders = {world.order(method="testkit", state="ordered") for _ in range(2)}
    world.run(ResendEvents(ask(world)))
    wish = read(world)
    assert wish is not None
    assert (wish.state, wish.outcome, wish.orders, set(wish.order_ids)) == ("done", "found", 2, orders)
    assert arrived(world) == 0
    first = min(orders)
    world.deliver(first)
    world.deliver(first)
    assert arrived(world) == 1


def test_the_answer_is_on_record(world: World) -> None:
    world.order(method="testkit", state="ordered")
    world.run(ResendEvents(ask(world)))
    with reading(world.store) as connection:
        lines = audit_reads.list_audit(connection)
    (line,) = [line for line in lines if line["action"] == "resend_answered"]
    assert line["after"] == {"outcome": "found", "orders": 1, "asked_by": "ana"}


def test_a_message_that_comes_twice_asks_once(world: World) -> None:
    wish = ask(world)
    world.run(ResendEvents(wish))
    world.run(ResendEvents(wish))
    assert asked(world) == 1


def test_what_was_not_confirmed_is_not_asked_for(world: World) -> None:
    world.run(ResendEvents(ask(world, confirmed=False)))
    world.run(ResendEvents("never heard of"))
    assert asked(world) == 0


def test_an_answer_that_may_still_come_is_waited_for(world: World) -> None:
    world.sandbox.fault("status", operation="resend_events", status=500, count=1)
    wish = ask(world)
    with pytest.raises(NotNow, match="http_500"):
        world.run(ResendEvents(wish))
    waiting = read(world)
    assert waiting is not None
    assert waiting.state == "waiting"
    world.run(ResendEvents(wish))
    done = read(world)
    assert done is not None
    assert done.state == "done"


def test_a_refusal_is_final(world: World) -> None:
    world.sandbox.fault("status", operation="resend_events", status=403)
    wish = ask(world)
    for _ in range(2):
        world.run(ResendEvents(wish))
    refused = read(world)
    assert refused is not None
    assert (refused.state, refused.outcome) == ("failed", "denied")
    assert asked(world) == 1
