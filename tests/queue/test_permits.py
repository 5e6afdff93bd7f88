"""Calls to Junction are rationed across all workers, and stop while it is down."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest
from redis import Redis

from workers import permits as permits_module
from workers.embedded import EmbeddedRedis
from workers.permits import FAILURES_TO_OPEN, JUNCTION, Granted, Permits, Prepaid, Unavailable, Wait, traffic

Eventually = Callable[[Callable[[], object]], None]


def some_permits(client: Redis, *, rate: float = 0.01, burst: int = 1000, jitter: float = 0.0) -> Permits:
    return Permits(client, JUNCTION, rate, burst, jitter=lambda: jitter)


def circuit(client: Redis) -> str:
    return traffic(client, JUNCTION).circuit


def break_circuit(permits: Permits) -> None:
    for _ in range(FAILURES_TO_OPEN):
        permits.report(Granted(probe=False), ok=False)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The circuit half-opens after a moment."""
    monkeypatch.setattr(permits_module, "OPEN_SECONDS", 0.05)


def half_open(client: Redis, permits: Permits, eventually: Eventually) -> None:
    break_circuit(permits)
    eventually(lambda: circuit(client) == "half-open")


def test_a_burst_passes_and_the_next_call_waits_for_its_turn(client: Redis) -> None:
    permits = some_permits(client, rate=0.5, burst=2)
    assert [permits.take(), permits.take()] == [Granted(probe=False), Granted(probe=False)]
    match permits.take():
        case Wait(seconds):
            assert 0 < seconds <= 2.0
        case other:
            pytest.fail(f"{other}")


def test_permits_that_nobody_wants_do_not_pile_up(client: Redis) -> None:
    permits = some_permits(client, burst=2)
    permits.take()
    an_hour_ago = client.time()[0] - 3600
    client.hset(permits.key, "at", str(an_hour_ago))
    assert [isinstance(permits.take(), Granted) for _ in range(3)] == [True, True, False]


def test_waiting_as_told_is_enough(client: Redis) -> None:
    permits = some_permits(client, rate=20, burst=1)
    permits.take()
    match permits.take():
        case Wait(seconds):
            time.sleep(seconds + 0.001)
    assert permits.take() == Granted(probe=False)


def test_workers_that_ask_at_once_share_one_burst(client: Redis) -> None:
    together = Barrier(8)
    answers: list[Granted | Wait | Unavailable] = []

    def ask() -> None:
        permits = some_permits(client, burst=5)
        together.wait()
        answers.extend(permits.take() for _ in range(4))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(Granted(probe=False)) == 5


def test_a_quiet_time_holds_for_everyone_and_is_never_shortened(client: Redis) -> None:
    some_permits(client).back_off(60)
    some_permits(client).back_off(1)
    match some_permits(client).take():
        case Wait(seconds):
            assert 50 < seconds <= 60
        case other:
            pytest.fail(f"{other}")


def test_failures_in_a_row_open_the_circuit_for_everyone(client: Redis) -> None:
    break_circuit(some_permits(client))
    assert circuit(client) == "open"
    assert isinstance(some_permits(client).take(), Wait)


def test_one_success_starts_the_count_of_failures_again(client: Redis) -> None:
    permits = some_permits(client)
    for _ in range(FAILURES_TO_OPEN):
        permits.report(Granted(probe=False), ok=False)
        permits.report(Granted(probe=False), ok=True)
    assert circuit(client) == "closed"


@pytest.mark.usefixtures("quickly")
def test_only_one_call_probes_a_half_open_circuit(client: Redis, eventually: Eventually) -> None:
    permits = some_permits(client)
    half_open(client, permits, eventually)
    assert permits.take() == Granted(probe=True)
    assert isinstance(permits.take(), Wait)


@pytest.mark.usefixtures("quickly")
def test_a_probe_that_succeeds_closes_the_circuit(client: Redis, eventually: Eventually) -> None:
    permits = some_permits(client)
    half_open(client, permits, eventually)
    permits.report(Granted(probe=True), ok=True)
    assert circuit(client) == "closed"
    assert permits.take() == Granted(probe=False)


@pytest.mark.usefixtures("quickly")
def test_calls_from_before_the_circuit_opened_do_not_move_it(client: Redis, eventually: Eventually) -> None:
    permits = some_permits(client)
    half_open(client, permits, eventually)
    permits.report(Granted(probe=False), ok=True)
    break_circuit(permits)
    assert circuit(client) == "half-open"


def test_the_circuit_stays_open_longer_with_each_failed_probe_up_to_a_limit(client: Redis) -> None:
    permits = some_permits(client, jitter=1.0)
    break_circuit(permits)
    waits = [permits.take()]
    for _ in range(9):
        permits.report(Granted(probe=True), ok=False)
        waits.append(permits.take())
    seconds = [round(wait.seconds) for wait in waits if isinstance(wait, Wait)]
    assert seconds == [10, 20, 40, 80, 160, 300, 300, 300, 300, 300]


def test_chance_decides_when_the_circuit_half_opens(client: Redis) -> None:
    permits = some_permits(client, jitter=0.0)
    break_circuit(permits)
    permits.report(Granted(probe=True), ok=False)
    match permits.take():
        case Wait(seconds):
            assert round(seconds) == 5
        case other:
            pytest.fail(f"{other}")


def test_without_redis_there_is_no_permit(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        url = server.url
    with Redis.from_url(url) as client:
        permits = some_permits(client)
        permits.report(Granted(probe=False), ok=True)
        permits.back_off(1)
        assert permits.take() == Unavailable()


def test_calls_that_belong_together_are_granted_together_and_the_bucket_owes_the_rest(client: Redis) -> None:
    permits = some_permits(client, rate=1.0, burst=2)
    assert permits.take(calls=4) == Granted(probe=False)
    match permits.take():
        case Wait(seconds):
            assert 2.0 < seconds <= 3.0
        case other:
            pytest.fail(f"{other}")


def test_a_call_does_not_queue_again_behind_the_looks_it_was_paid_with(client: Redis) -> None:
    permits = some_permits(client, burst=3)
    assert permits.take(calls=3) == Granted(probe=False)
    paid = Prepaid(permits, 3)
    assert isinstance(permits.take(), Wait)  # others wait
    assert [paid.take() for _ in range(3)] == [Granted(probe=False)] * 3
    assert isinstance(paid.take(), Wait)


def test_what_junction_asks_for_meanwhile_counts_more_than_what_was_paid(client: Redis) -> None:
    permits = some_permits(client)
    paid = Prepaid(permits, 3)
    paid.back_off(60.0)
    assert isinstance(paid.take(), Wait)
