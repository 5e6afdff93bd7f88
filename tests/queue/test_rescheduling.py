"""Delayed messages get another time, and each still runs once, whoever holds it meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dramatiq
import pytest

from workers import queues as queues_module
from workers.broker import Broker
from workers.messages import Act, publish
from workers.queues import Delays, MessageRow, Outcome, QueueReader

Eventually = Callable[[Callable[[], object]], None]
StartWorker = Callable[..., dramatiq.Worker]

HOUR = timedelta(hours=1)


class Acting:
    """An actor that remembers what it was given, and the ids of the messages."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.seen: list[int] = []
        dramatiq.actor(broker=broker, actor_name="act", queue_name="actions", max_retries=0)(self._act)

    def _act(self, id: int) -> None:  # noqa: A002 - the message's own word
        self.seen.append(id)

    def send_late(self, id_: int, delay: timedelta, **options: object) -> None:
        message: dramatiq.Message[None] = dramatiq.Message("actions", "act", (), {"id": id_}, options)
        self.broker.enqueue(message, delay=delay // timedelta(milliseconds=1))


@pytest.fixture
def acting(broker: Broker) -> Acting:
    return Acting(broker)


def only(rows: tuple[MessageRow, ...]) -> MessageRow:
    (row,) = rows
    return row


def test_a_delayed_message_nobody_holds_runs_now_under_its_id(
    acting: Acting, broker: Broker, queues: QueueReader, start_worker: StartWorker, eventually: Eventually
) -> None:
    acting.send_late(1, HOUR)
    delayed = only(queues.messages("actions", "delayed"))
    assert queues.reschedule("actions", [delayed.redis_id], None) == {Outcome.RESCHEDULED: 1}
    ready = only(queues.messages("actions", "ready"))
    assert (ready.id, ready.redis_id, ready.eta) == (delayed.id, delayed.redis_id, None)
    assert queues.messages("actions", "delayed") == ()
    start_worker(broker)
    eventually(lambda: acting.seen == [1])


def test_a_delayed_message_that_a_worker_holds_runs_now_and_not_again_when_it_was_due(
    acting: Acting, broker: Broker, queues: QueueReader, start_worker: StartWorker, eventually: Eventually
) -> None:
    acting.send_late(1, timedelta(seconds=2))
    start_worker(broker)
    eventually(lambda: queues.snapshot()[2].delayed_in_memory)
    delayed = only(queues.messages("actions", "delayed"))
    assert queues.reschedule("actions", [delayed.redis_id], None) == {Outcome.REPLACED: 1}
    eventually(lambda: acting.seen == [1])
    assert only(queues.messages("actions", "delayed")).called_off
    eventually(lambda: not queues.snapshot()[2].delayed)
    publish(broker, Act(2))
    eventually(lambda: acting.seen[-1] == 2)
    assert acting.seen == [1, 2]


@pytest.mark.parametrize("held", [False, True])
def test_a_message_gets_another_time_and_keeps_what_it_went_through(
    acting: Acting, broker: Broker, queues: QueueReader, *, held: bool
) -> None:
    acting.send_late(1, HOUR, retries=2, traceback="KeyError at workers.acting:act")
    if held:
        assert next(broker.consume("actions.DQ"))
    before = only(queues.messages("actions", "retrying"))
    due_at = datetime(2030, 1, 1, tzinfo=UTC)
    queues.reschedule("actions", [before.redis_id], due_at)
    (after,) = [row for row in queues.messages("actions", "retrying") if not row.called_off]
    assert (after.eta, after.retries, after.error, after.args) == (due_at, 2, "KeyError", {"id": 1})
    assert (after.id == before.id) is not held


def test_of_two_operators_who_run_the_same_message_one_is_too_late(
    acting: Acting, broker: Broker, queues: QueueReader
) -> None:
    acting.send_late(1, HOUR)
    acting.send_late(2, HOUR)
    held = next(broker.consume("actions.DQ", prefetch=1))
    assert held
    for row in queues.messages("actions", "delayed"):
        outcomes = [queues.reschedule("actions", [row.redis_id], None) for _ in range(2)]
        assert outcomes[1] == {Outcome.NOT_THERE: 1}
    assert len(queues.messages("actions", "ready")) == 2


def test_what_was_called_off_is_not_brought_back(acting: Acting, broker: Broker, queues: QueueReader) -> None:
    acting.send_late(1, HOUR)
    assert next(broker.consume("actions.DQ"))
    row = only(queues.messages("actions", "delayed"))
    queues.call_off("actions", row.redis_id)
    assert queues.reschedule("actions", [row.redis_id], None) == {Outcome.NOT_THERE: 1}
    assert queues.run_all_now("actions") == {}


def test_all_that_is_delayed_runs_now_the_first_due_first(
    acting: Acting, broker: Broker, queues: QueueReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues_module, "MOVED_AT_ONCE", 2)
    for number in (3, 1, 2):
        acting.send_late(number, number * HOUR)
    assert next(broker.consume("actions.DQ", prefetch=1))  # the one that is due last
    assert queues.run_all_now("actions") == {Outcome.RESCHEDULED: 2}
    assert queues.run_all_now("actions") == {Outcome.REPLACED: 1}
    assert [row.args["id"] for row in queues.messages("actions", "ready")] == [1, 2, 3]


def test_when_the_next_delayed_message_is_due_is_known(acting: Acting, queues: QueueReader) -> None:
    assert queues.delays("actions") == Delays(0, None, None)
    acting.send_late(1, HOUR)
    acting.send_late(2, 2 * HOUR, retries=1)
    first, second = queues.messages("actions", "delayed")
    assert queues.delays("actions") == Delays(1, first.eta, second.eta)
