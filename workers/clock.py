"""The clock: wakes what is due, finds what got lost, reads the policy file when it changes.

Several may run at once; everything they do is a query and a message that may come twice.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy import Engine

from workers.broker import make_broker
from workers.configuration import BadSettings, describe, load
from workers.logs import log_as_json
from workers.messages import Act, EvaluateOrders, Message, ProjectDeliveries, publish
from workers.policy_file import Loaded, Mistakes, load_policy
from workers.policy_loading import accept, in_brief
from workers.settings import Settings
from workers.store import controls, inbox, ledger, orders, policies, processes
from workers.store.database import open_store, store_time, writing
from workers.store.watermark import Watermark

log = structlog.get_logger("clock")

DUE_AT_ONCE = 500
DELIVERIES_A_MESSAGE = 100
REPLANNED_AT_ONCE = 200
TIDY_EVERY = timedelta(minutes=1)
TIDIED_AT_ONCE = 500
SHOWN_AFTER_LOSS = timedelta(hours=1)  # so long the dashboard shows a worker that vanished

HELP = f"""The clock: wakes what is due, finds what got lost, reads the policy file when it changes.

    python -m workers.clock

Settings, all from the environment:
{describe(Settings)}
"""


Stamp = tuple[int, ...]


@dataclass
class Clock:
    """One tick after another. Raises what the store or the queue raise; the loop logs it and goes on."""

    store: Engine
    publish: Callable[[Message], object]
    settings: Settings
    _announced: dict[Hashable, datetime] = field(default_factory=dict)
    _policy_seen: Stamp | None = None
    _policy_read: Stamp | None = None
    _tidied_at: datetime | None = None

    def __post_init__(self) -> None:
        self._watermark = Watermark(self.store)

    @property
    def announced_for(self) -> timedelta:
        """After so long a message counts as lost, and is sent again."""
        return timedelta(seconds=self.settings.lease_seconds)

    def tick(self) -> None:
        self._watermark.check()
        self.end_pauses()
        self.read_policy()
        self.replan_stale()
        self.wake_orders()
        self.wake_actions()
        self.sweep_inbox()
        self.tidy()

    def end_pauses(self) -> None:
        with writing(self.store) as connection:
            for name in controls.switch_off_expired(connection, store_time(connection)):
                log.info("its time was up, so it is switched off", control=name)

    def read_policy(self) -> None:
        """Loads the file when it has changed. A wrong one is told with its lines; the old one stays.

        A change is believed once the next tick still finds it: half a file may read like a whole policy.
        """
        path = self.settings.policy
        seen, before = _stamp(path), self._policy_seen
        self._policy_seen = seen
        if seen == self._policy_read or (before is not None and seen != before):
            return
        read = load_policy(path, self.settings.kept_facts)
        if _stamp(path) != seen:
            return
        match read:
            case Mistakes() as mistakes:
                log.error("the policy was not loaded; the one before stays", problems=in_brief(mistakes))
                with writing(self.store) as connection:
                    policies.note_refused(connection, in_brief(mistakes), store_time(connection))
            case Loaded() as loaded:
                with writing(self.store) as connection:
                    generation = accept(connection, loaded, str(path), store_time(connection))
                log.info("policy active", generation=generation.number, hash=generation.hash[:12])
        self._policy_read = seen  # only now: what the store did not take is tried again

    def replan_stale(self) -> None:
        """What was planned under an older policy is due for a new plan, a batch a tick."""
        with writing(self.store) as connection:
            generation = policies.active(connection)
            if generation is None:
                return
            orders.wake_stale(connection, generation.number, store_time(connection), REPLANNED_AT_ONCE)

    def wake_orders(self) -> None:
        with writing(self.store) as connection:
            now = store_time(connection)
            due = orders.due(connection, now, DUE_AT_ONCE)
            orders.announce(connection, due, now + self.announced_for)
        for order_id in due:  # one a message: each costs calls to Junction
            self.publish(EvaluateOrders([order_id]))

    def wake_actions(self) -> None:
        with writing(self.store) as connection:
            now = store_time(connection)
            due = ledger.due(connection, now, DUE_AT_ONCE)
        # A row that was put off since is another occasion: it is not kept waiting by what was said before.
        self._once(now, {(id_, since): Act(id_) for id_, since in due.items()})

    def sweep_inbox(self) -> None:
        with writing(self.store) as connection:
            now = store_time(connection)
            lost = inbox.unfinished(connection, now, DUE_AT_ONCE)
        chunks = range(0, len(lost), DELIVERIES_A_MESSAGE)
        messages = [ProjectDeliveries(lost[at : at + DELIVERIES_A_MESSAGE]) for at in chunks]
        self._once(now, {tuple(message.ids): message for message in messages})

    def tidy(self) -> None:
        """Forgets bodies and, much later, ids; a few at a time, so that nobody has to wait."""
        with writing(self.store) as connection:
            now = store_time(connection)
            if self._tidied_at is not None and now - self._tidied_at < TIDY_EVERY:
                return
            self._tidied_at = now
            inbox.scrub(connection, now - timedelta(days=self.settings.keep_bodies_days), TIDIED_AT_ONCE)
            processes.remove_processes_unseen_since(connection, now - SHOWN_AFTER_LOSS)
            inbox.prune(connection, now - timedelta(days=self.settings.keep_ids_days), TIDIED_AT_ONCE)

    def _once(self, now: datetime, messages: Mapping[Hashable, Message]) -> None:
        """Sends a message an occasion, and none again that was sent a moment ago and may still be queued."""
        recent = {occasion: at for occasion, at in self._announced.items() if now - at < self.announced_for}
        for occasion, message in messages.items():
            if occasion not in recent:
                self.publish(message)
                recent[occasion] = now
        self._announced = recent


def _stamp(path: Path) -> Stamp:
    """Differs when the file may differ; empty while there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def main() -> int:
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(HELP)
        return 0
    try:
        settings = load(Settings)
    except BadSettings as bad:
        sys.stderr.write(f"The clock cannot start:\n{bad}\n")
        return 2
    first = load_policy(settings.policy, settings.kept_facts)
    if isinstance(first, Mistakes):
        sys.stderr.write(f"The clock cannot start, the policy is wrong:\n{in_brief(first)}\n")
        return 2
    log_as_json()
    broker = make_broker(settings.redis_url.get_secret_value(), publisher=True)
    clock = Clock(
        store=open_store(settings.database_url.get_secret_value()),
        publish=lambda message: publish(broker, message),
        settings=settings,
    )
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    log.info("the clock is up", tick=settings.tick_seconds)
    while not stop.wait(settings.tick_seconds):
        try:
            clock.tick()
        except Exception:
            log.exception("a tick failed", at=datetime.now(UTC).isoformat())
    broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
