"""A dashboard on which every page has something to show. The orders and what was decided about them are the
engine's own work; what only time or trouble would bring is put there by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from dramatiq import Message

from receiver.dashboard.queue_figures import GAUGES
from sandbox.running import RunningSandbox
from tests.dashboard.conftest import Dashboard, running_dashboard
from tests.workers.conftest import World, world_with
from workers.broker import NAMESPACE
from workers.done import Run, keep
from workers.embedded import EmbeddedRedis
from workers.messages import QUEUES, Act, EvaluateOrders, ProjectDeliveries, publish

USER = "7d0c1a54-64f4-4a0e-8a7e-3f5f0d3b7c11"

HEAD = """\
version: 1
policy: acme-care
environment: sandbox
time: {settle: 0s}
limits: {per_hour: 100, per_day: 500, share_of_open: 100%, floor: 100}
exemptions:
  - name: study
    reason: kits of the sleep study wait until its next round
    if:
      - order: {lab_test: [sleep-study]}
"""
RULE = """\
  - name: {name}
    describe: {describe}
    mode: {mode}
    methods: [{method}]
    act_any_time: true
    backlog: include
    when:
      - status: {{in: [{statuses}], for: 10d}}
    then: {{action: cancel_order}}
"""
RULES = (
    ("kit-never-registered", "enforce", "testkit", "awaiting_registration", "nobody registered the kit"),
    ("kit-never-shipped", "review", "testkit", "requisition_created", "a person decides"),
    ("walk-in-never-booked", "shadow", "walk_in_test", "requisition_created", "on trial"),
    (
        "home-visit-never-booked",
        "enforce",
        "at_home_phlebotomy",
        "requisition_created",
        "no visit was booked",
    ),
    ("on-site-never-drawn", "enforce", "on_site_collection", "requisition_created", "nobody came"),
)
POLICY = "".join(
    RULE.format(name=name, mode=mode, method=method, statuses=statuses, describe=describe)
    for name, mode, method, statuses, describe in RULES
)

# The scene of each order (sandbox.control.NewOrder), and how many days ago it began.
STOCK_KIT = {"method": "testkit", "registrable": True, "state": "awaiting_registration"}
SCENES: tuple[tuple[dict[str, Any], float], ...] = (
    (STOCK_KIT | {"lab_test": "hormones-at-home"}, 12),
    (STOCK_KIT | {"lab_test": "sleep-study"}, 12),
    (STOCK_KIT | {"user_id": USER}, 9.95),
    (STOCK_KIT | {"user_id": USER, "state": "with_customer", "step_seconds": 7200}, 6),
    ({"method": "testkit", "state": "requisition_created", "lab_test": "heavy-metals-comprehensive"}, 11),
    ({"method": "testkit", "state": "transit_customer", "step_seconds": 3600}, 3),
    ({"method": "testkit", "state": "completed", "step_seconds": 40_000}, 30),
    ({"method": "walk_in_test", "state": "requisition_created"}, 14),
    ({"method": "walk_in_test", "state": "appointment_scheduled", "step_seconds": 600}, 2),
    ({"method": "at_home_phlebotomy", "state": "requisition_created"}, 4),
    ({"method": "at_home_phlebotomy", "state": "draw_completed", "step_seconds": 5000}, 5),
    ({"method": "on_site_collection", "state": "requisition_created"}, 15),
)


@contextmanager
def filled_dashboard(folder: Path) -> Iterator[Dashboard]:
    """Takes a few seconds; made for a module to share. Its store is `folder / "filled.db"`."""
    with (
        EmbeddedRedis(folder / "redis") as redis,
        running_dashboard(f"sqlite:///{folder / 'filled.db'}", redis.url) as dashboard,
    ):
        fill(dashboard, folder)
        yield dashboard


def fill(dashboard: Dashboard, folder: Path) -> None:
    """`folder` is for the policy file."""
    with RunningSandbox(seed=7) as sandbox, world_with(sandbox, dashboard.store, folder) as world:
        world.policy(POLICY, head=HEAD)
        orders = [_order(dashboard, world, scene, days_ago) for scene, days_ago in SCENES]
        _a_shipping_nobody_told_us_of(dashboard, world)
        world.sandbox.event(orders[8], "received.walk_in_test.on_the_moon")
        _out_of_order(world, orders[5])
        world.deliver(orders[8])
        world.drain()
    operator = dashboard.sign_in("operator")
    _workers(dashboard)
    _queues(dashboard, orders)
    _failures(dashboard, orders[4])
    _trouble_at_the_door(dashboard)
    _figures(dashboard)
    _said_by_operators(operator, orders)


def _order(dashboard: Dashboard, world: World, scene: dict[str, Any], days_ago: float) -> str:
    created_at = dashboard.clock() - timedelta(days=days_ago)
    order_id = world.order(created_at=created_at.isoformat(), **scene)
    world.deliver(order_id)
    return order_id


def _a_shipping_nobody_told_us_of(dashboard: Dashboard, world: World) -> None:
    """So the look before the call blocks it."""
    kit = _order(dashboard, world, STOCK_KIT, 13)
    world.sandbox.event(kit, "transit_customer", quiet=True)


def _out_of_order(world: World, order_id: str) -> None:
    """A webhook with the first event only, after one with all."""
    order = world.sandbox.api.get(f"/v3/order/{order_id}").json()
    first = order["events"][:1]
    data = order | {"events": first, "last_event": first[0], "updated_at": first[0]["created_at"]}
    world.deliver(
        order_id, {"event_type": "labtest.order.updated", "team_id": order["team_id"], "data": data}
    )


def _workers(dashboard: Dashboard) -> None:
    now = dashboard.clock()
    running = [{"message_id": "m1", "actor": "project", "queue": "events", "since": now.isoformat()}]
    for number, (version, queues) in enumerate([("v1.4.0", "actions,events,orders"), ("v1.3.9", "events")]):
        dashboard.put(
            "processes", id=f"lab-{number}:1", kind="worker", host=f"lab-{number}", pid=number + 7, threads=8,
            version=version, queues=queues, started_at=now - timedelta(hours=5), rss_kb=81_000,
            seen_at=now + timedelta(days=1 - 2 * number), running=running,
        )  # fmt: skip


def _queues(dashboard: Dashboard, orders: list[str]) -> None:
    """Something ready, delayed, retrying, dead and done in each place a page shows."""
    for number in range(3):
        publish(dashboard.broker, ProjectDeliveries([number]))
    publish(dashboard.broker, EvaluateOrders(orders[:1]))
    publish(dashboard.broker, Act(7))
    later: Message[None] = Message("orders", "evaluate", (), {"ids": orders[1:2]}, {})
    dashboard.broker.enqueue(later, delay=3_600_000)
    again: Message[None] = Message("orders", "evaluate", (), {"ids": orders[2:3]}, {"retries": 2})
    dashboard.broker.enqueue(again, delay=60_000)
    dead: Message[None] = Message(
        "events", "project", (), {"ids": [1]}, {"redis_message_id": "r1", "retries": 3}, message_id="m-dead"
    )
    client = dashboard.broker.client
    client.hset("autocancel:events.XQ.msgs", "r1", dead.encode())
    client.zadd("autocancel:events.XQ", {"r1": dashboard.clock().timestamp() * 1000})
    now = dashboard.clock()
    run = Run("m-done", "evaluate", "orders", {"ids": orders[:1]}, 1, "ok", None, "lab-0:7", now, 48)
    keep(client, NAMESPACE, {"orders": [run]})


def _failures(dashboard: Dashboard, order_id: str) -> None:
    now = dashboard.clock()
    for number, (error, state) in enumerate(
        [
            ("KeyError", "open"),
            ("KeyError", "open"),
            ("IntegrityError", "acknowledged"),
            ("KeyError", "replayed"),
        ]
    ):
        settled = {"resolved_at": now, "resolved_by": "ana", "reason": "fixed in v1.4.0"}
        dashboard.put(
            "failures", queue="orders", actor="evaluate", fingerprint=f"evaluate {error} evaluating.py:look",
            error=error, place="evaluating.py:look", args={"ids": [order_id]}, version="v1.4.0", attempts=4,
            at=now - timedelta(hours=number), state=state, message_id=f"m{number}", order_id=order_id,
            **(settled if state != "open" else {}),
        )  # fmt: skip


def _trouble_at_the_door(dashboard: Dashboard) -> None:
    now = dashboard.clock()
    for minutes, reason in ((2, "bad_signature"), (30, "stale"), (90, "bad_signature")):
        at = now - timedelta(minutes=minutes)
        minute = at.replace(second=0, microsecond=0)
        dashboard.put("rejections", minute=minute, reason=reason, count=minutes, last_at=at)
    odd: list[tuple[str, Any]] = [("quarantined", {}), ("foreign", None), ("unreadable", None)]
    for number, (state, body) in enumerate(odd):
        dashboard.put(
            "deliveries", delivery_id=f"msg_odd_{number}", received_at=now, signed_at=now, size=812,
            body=body,
            secret_label="tests", sha256="0" * 64, state=state, attempts=3, error="KeyError at read.py:read",
            event_type="labtest.order.created", duplicates=2, last_duplicate_at=now,
        )  # fmt: skip


def _figures(dashboard: Dashboard) -> None:
    this_minute = dashboard.clock().replace(second=0, microsecond=0)
    for ago in range(90):
        minute = this_minute - timedelta(minutes=ago)
        counts = {
            "events.ok": 20 + ago % 7,
            "events.retried": ago % 3,
            "events.le_30": 20,
            "orders.failed": 1,
            **{f"{queue}.{gauge}": ago % 9 for queue in QUEUES for gauge in GAUGES},
        }
        for series, value in counts.items():
            dashboard.put("figures", minute=minute, series=f"queue.{series}", value=value)


def _said_by_operators(operator: httpx.Client, orders: list[str]) -> None:
    """Each leaves a line in the audit."""
    for path, reason in (
        (f"/orders/{orders[2]}/hold", "the patient called and wants to wait"),
        ("/queues/actions/pause", "Junction has announced maintenance"),
        ("/rules/rule/on-site-never-drawn/pause", "the clinic moves house"),
    ):
        answer = operator.post(path, data={"reason": reason})
        assert answer.status_code == 303, answer.text
    wish = operator.post("/events/missing", data={"from": "2026-01-05T08:00", "to": "2026-01-06T08:00"})
    operator.post(wish.headers["location"], data={"reason": "the receiver was down"})
