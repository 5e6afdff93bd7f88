"""Active problems only, each named once, and quiet when somebody has taken it on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from receiver.dashboard.attention import Scene, problems_of
from receiver.dashboard.last_known import Sighting
from workers.messages import QUEUES
from workers.permits import Traffic
from workers.queues import QueueState
from workers.store.processes import Process
from workers.store.watch import Counts

if TYPE_CHECKING:
    from tests.dashboard.conftest import Dashboard

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
QUIET = Counts(0, None, 0, None, 0, None, 0, None, 0, 0, 0)
WORKER = Process("w1", "worker", "lab", 7, "v1", QUEUES, 8, None, NOON, NOON)
EMPTY = QueueState("events", 0, 0, 0, 0, 0, None, None)
GOING_THROUGH = Sighting(Traffic("closed", 0.0), NOON, fresh=True)
CALM = Scene(NOON, Sighting((EMPTY,), NOON, fresh=True), GOING_THROUGH, (WORKER,), {}, QUIET)


def keys(scene: Scene) -> list[str]:
    waiting, _ = problems_of(scene)
    return [problem.key for problem in waiting]


def test_a_calm_scene_has_no_problems() -> None:
    assert problems_of(CALM) == ((), ())


def test_each_problem_is_named() -> None:
    switches = dict.fromkeys(("stop", "limits", "policy_refused", "rule:stale"), ("why", "ana", NOON))
    old = NOON - timedelta(minutes=10)
    behind = replace(
        EMPTY, ready=4, oldest_ready_at=old, dead=1, oldest_dead_at=NOON - timedelta(days=6, hours=12)
    )
    counts = Counts(2, NOON, 1, NOON, 3, NOON, 1, NOON, 5, bad_signatures=30, bad_signatures_before=2)
    down = Sighting(Traffic("open", 0.0), NOON, fresh=True)
    scene = Scene(NOON, Sighting((behind,), NOON, fresh=False), down, (), switches, counts)
    assert keys(scene) == [
        "redis", "junction", "stop", "limits", "policy",
        "no_worker:events", "no_worker:orders", "no_worker:actions",
        "signatures", "behind:events", "rule:stale", "clocks",
        "failed_decisions", "reviews", "dead_letters", "purge:events", "quarantined",
    ]  # fmt: skip


def test_junction_may_ask_for_quiet_but_not_for_long() -> None:
    def asked_for(seconds: float, *, fresh: bool = True) -> list[str]:
        return keys(replace(CALM, traffic=Sighting(Traffic("closed", seconds), NOON, fresh=fresh)))

    assert asked_for(2.0) == []
    assert asked_for(60.0) == ["junction"]
    assert asked_for(60.0, fresh=False) == []


def test_a_silent_worker_serves_no_queue() -> None:
    silent = replace(WORKER, seen_at=NOON - timedelta(minutes=1))
    assert keys(replace(CALM, processes=(silent,))) == [f"no_worker:{queue}" for queue in QUEUES]


def test_a_paused_queue_is_not_behind() -> None:
    behind = replace(EMPTY, ready=4, oldest_ready_at=NOON - timedelta(hours=1))
    paused = {"queue:events": ("maintenance", "ana", NOON)}
    scene = replace(CALM, queues=Sighting((behind,), NOON, fresh=True))
    assert keys(scene) == ["behind:events"]
    assert keys(replace(scene, switches=paused)) == []


def test_steady_bad_signatures_are_somebody_elses_noise() -> None:
    assert keys(replace(CALM, counts=replace(QUIET, bad_signatures=30, bad_signatures_before=28))) == []


def test_an_acknowledged_problem_comes_back_when_it_gets_worse_or_old() -> None:
    failed = replace(QUIET, open_failures=1, newest_failure_at=NOON - timedelta(minutes=1))
    known = replace(CALM, counts=failed, switches={"ack:dead_letters": ("on it", "ana", NOON)})
    assert keys(known) == []
    assert [problem.note for problem in problems_of(known)[1]] == ["ana: on it"]
    worse = replace(failed, open_failures=2, newest_failure_at=NOON + timedelta(minutes=1))
    assert keys(replace(known, counts=worse)) == ["dead_letters"]
    assert "dead_letters" in keys(replace(known, now=NOON + timedelta(hours=12)))


def test_acknowledging_takes_a_note_and_leads_back(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    assert "No worker on queue events" in browser.get("/queues").text
    address = "/problems/no_worker%3Aevents?back=%2Fqueues"
    assert "No worker on queue events" in browser.get(address).text
    answer = browser.post(address, data={"reason": "deploying"})
    assert answer.headers["location"] == "/queues"
    page = browser.get("/queues").text
    assert "1 acknowledged" in page
    assert "operator: deploying" in page
    assert dashboard.rows("audit")[-1]["target"] == "ack:no_worker:events"
    assert browser.get(address).status_code == 404


def test_a_limit_of_one_rule_that_tripped_is_told() -> None:
    scene = replace(CALM, switches={"limits:no-shows": ("40 due, 0 of 25 used", "engine", NOON)})
    waiting, _ = problems_of(scene)
    assert [problem.text for problem in waiting] == [
        "Rule no-shows is held: its limit tripped (40 due, 0 of 25 used)"
    ]
