"""What an operator should know without asking: each check looks at one scene and names its problems.

Nothing is read here, so every check can be tried with a scene of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from receiver.dashboard.last_known import Sighting
from workers.messages import QUEUES
from workers.permits import Traffic
from workers.queues import QueueState
from workers.store.controls import LIMITS, STOP
from workers.store.policies import REFUSED
from workers.store.processes import Process
from workers.store.watch import Counts

OLDEST_READY = timedelta(minutes=2)  # the queue holds what is due now; idle workers take it at once
MANY_BAD_SIGNATURES = 10  # in watch.RECENT; a single one is somebody's stray request
DEAD_LETTERS_LIVE = timedelta(days=7)  # in Redis; the failures in the store stay
LONG_QUIET = 10.0  # seconds; a moment's quiet is everyday life
ACKNOWLEDGED_FOR = timedelta(hours=12)  # then it is asked again: people forget

ACK = "ack:"


@dataclass(frozen=True, slots=True)
class Problem:
    """`key` names it for acknowledgements; `at`: the newest sign of it (UTC), if it comes in instances."""

    key: str
    severity: Literal["bad", "warn"]
    text: str
    href: str
    at: datetime | None = None
    note: str = ""  # of whoever acknowledged it


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything the checks look at. `switches`: name -> (reason, actor, since), those that are on."""

    now: datetime
    queues: Sighting[tuple[QueueState, ...]]
    traffic: Sighting[Traffic]
    processes: tuple[Process, ...]
    switches: Mapping[str, tuple[str, str, datetime]]
    counts: Counts


def problems_of(scene: Scene) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """The problems to show, and those that somebody has acknowledged and that got no worse since."""
    waiting: list[Problem] = []
    known: list[Problem] = []
    for problem in (problem for check in CHECKS for problem in check(scene)):
        note = _acknowledged(scene, problem)
        if note is None:
            waiting.append(problem)
        else:
            known.append(Problem(problem.key, problem.severity, problem.text, problem.href, problem.at, note))
    return tuple(waiting), tuple(known)


def _acknowledged(scene: Scene, problem: Problem) -> str | None:
    if (ack := scene.switches.get(ACK + problem.key)) is None:
        return None
    note, actor, at = ack
    still_holds = scene.now - at < ACKNOWLEDGED_FOR and (problem.at is None or problem.at <= at)
    return f"{actor}: {note}" if still_holds else None


def redis_unreachable(scene: Scene) -> Iterator[Problem]:
    if not scene.queues.fresh:
        yield Problem(
            "redis", "bad", "Redis does not answer; what it held comes back from the store", "/queues"
        )


def stopped(scene: Scene) -> Iterator[Problem]:
    if STOP in scene.switches:
        reason, actor, at = scene.switches[STOP]
        yield Problem("stop", "bad", f"Nothing is cancelled: stopped by {actor} ({reason})", "/rules", at)
    if LIMITS in scene.switches:
        reason, _, at = scene.switches[LIMITS]
        yield Problem("limits", "bad", f"Nothing is cancelled: a limit tripped ({reason})", "/rules", at)


def junction_trouble(scene: Scene) -> Iterator[Problem]:
    match scene.traffic:
        case Sighting(value=Traffic(circuit="open" | "half-open"), fresh=True):
            text = "Junction does not answer: calls wait until it does, so cancellations may come late"
            yield Problem("junction", "bad", text, "/system")
        case Sighting(value=Traffic(quiet_seconds=seconds), fresh=True) if seconds > LONG_QUIET:
            yield Problem("junction", "warn", f"Junction asks for quiet for {seconds:.0f} s (429)", "/system")


def untimely(scene: Scene) -> Iterator[Problem]:
    if count := scene.counts.untimely:
        text = f"Clocks disagree, so nothing is decided about {count:,} orders"
        yield Problem("clocks", "bad", text, "/orders?outcome=clock_skew")


def policy_refused(scene: Scene) -> Iterator[Problem]:
    if REFUSED in scene.switches:
        at = scene.switches[REFUSED][2]
        yield Problem(
            "policy", "bad", "The policy file has mistakes; the one before it is in force", "/rules", at
        )


def rule_tripped(scene: Scene) -> Iterator[Problem]:
    for name, (reason, actor, at) in scene.switches.items():
        if name.startswith("rule:"):
            rule = name.removeprefix("rule:")
            yield Problem(name, "warn", f"Rule {rule} is paused by {actor} ({reason})", "/rules", at)
        if name.startswith("limits:"):
            rule = name.removeprefix("limits:")
            yield Problem(name, "bad", f"Rule {rule} is held: its limit tripped ({reason})", "/rules", at)


def no_worker(scene: Scene) -> Iterator[Problem]:
    served = {
        queue
        for process in scene.processes
        if process.kind == "worker" and process.is_live(scene.now)
        for queue in process.queues
    }
    for queue in QUEUES:
        if queue not in served:
            yield Problem(f"no_worker:{queue}", "bad", f"No worker on queue {queue}", f"/queues/{queue}")


def ready_too_long(scene: Scene) -> Iterator[Problem]:
    for queue in scene.queues.value or ():
        paused = f"queue:{queue.name}" in scene.switches
        since = queue.oldest_ready_at
        if since is not None and not paused and scene.now - since > OLDEST_READY:
            minutes = (scene.now - since) // timedelta(minutes=1)
            text = f"Queue {queue.name} is behind: {queue.ready:,} wait, the oldest for {minutes} min"
            yield Problem(f"behind:{queue.name}", "warn", text, f"/queues/{queue.name}")


def bad_signatures(scene: Scene) -> Iterator[Problem]:
    recent, before = scene.counts.bad_signatures, scene.counts.bad_signatures_before
    if recent >= MANY_BAD_SIGNATURES and recent > 2 * before:
        text = f"Signature failures are rising: {recent} in ten minutes, {before} in the ten before"
        yield Problem("signatures", "bad", text, "/events")


def dead_letters(scene: Scene) -> Iterator[Problem]:
    if count := scene.counts.open_failures:
        text = "A dead letter waits" if count == 1 else f"{count:,} dead letters wait"
        yield Problem("dead_letters", "warn", text, "/dead-letters", scene.counts.newest_failure_at)


def dead_letters_due(scene: Scene) -> Iterator[Problem]:
    for queue in scene.queues.value or ():
        died = queue.oldest_dead_at
        if died is not None and died + DEAD_LETTERS_LIVE - scene.now < timedelta(days=1):
            text = f"Dead messages of queue {queue.name} leave Redis within a day"
            yield Problem(f"purge:{queue.name}", "warn", text, f"/queues/{queue.name}?tab=dead")


def quarantined(scene: Scene) -> Iterator[Problem]:
    if count := scene.counts.quarantined:
        text = "A delivery is set aside" if count == 1 else f"{count:,} deliveries are set aside"
        yield Problem(
            "quarantined", "warn", text, "/events?state=quarantined", scene.counts.newest_quarantined_at
        )


def failed_decisions(scene: Scene) -> Iterator[Problem]:
    if count := scene.counts.failed_decisions:
        text = "A cancellation failed" if count == 1 else f"{count:,} cancellations failed"
        rows, at = "/decisions?state=failed&state=partial", scene.counts.newest_failed_decision_at
        yield Problem("failed_decisions", "bad", f"{text}, wholly or in part", rows, at)


def open_reviews(scene: Scene) -> Iterator[Problem]:
    if count := scene.counts.open_decisions:
        text = "A decision waits for you" if count == 1 else f"{count:,} decisions wait for you"
        yield Problem("reviews", "warn", text, "/decisions?state=open", scene.counts.newest_open_decision_at)


CHECKS: tuple[Callable[[Scene], Iterator[Problem]], ...] = (
    redis_unreachable,
    junction_trouble,
    stopped,
    policy_refused,
    no_worker,
    bad_signatures,
    ready_too_long,
    rule_tripped,
    untimely,
    failed_decisions,
    open_reviews,
    dead_letters,
    dead_letters_due,
    quarantined,
)
