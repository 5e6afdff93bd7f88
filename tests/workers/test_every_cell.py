"""Every status of every collection method, driven from the webhook to Junction: cancelled exactly where the
table says so. The table is Junction's guide (C: it can be cancelled from here) and our policy (P: we do by
default), written down once more by hand, so that a slip in the catalogue cannot hide behind itself."""

from datetime import timedelta

import pytest

from tests.workers.conftest import World, now

# low-level status   C    P; `kits` and `drawn`: only by a rule that includes them
TABLE = {
    "testkit": """
        ordered                          yes  yes
        awaiting_registration            yes  yes
        requisition_created              yes  yes
        requisition_bypassed             yes  yes
        registered                       yes  kits
        testkit_registered               yes  kits
        transit_customer                 no   no
        out_for_delivery                 no   no
        with_customer                    no   no
        transit_lab                      no   no
        problem_in_transit_customer      no   no
        problem_in_transit_lab           no   no
        delivered_to_lab                 no   no
        lab_processing_blocked           no   no
        completed                        no   no
        corrected                        no   no
        failure_to_deliver_to_customer   no   no
        failure_to_deliver_to_lab        no   no
        sample_error                     no   no
        lost                             no   no
        cancelled                        no   no
        do_not_process                   no   no
        never_heard_of                   no   no
    """,
    "walk_in_test": """
        ordered                          yes  yes
        requisition_created              yes  yes
        requisition_bypassed             yes  yes
        appointment_pending              yes  yes
        appointment_scheduled            yes  yes
        appointment_cancelled            yes  yes
        redraw_available                 no   no
        partial_results                  no   no
        completed                        no   no
        order_completed                  no   no
        corrected                        no   no
        sample_error                     no   no
        cancelled                        no   no
        never_heard_of                   no   no
    """,
    "at_home_phlebotomy": """
        ordered                          yes  yes
        requisition_created              yes  yes
        requisition_bypassed             yes  yes
        appointment_pending              yes  yes
        appointment_scheduled            yes  yes
        appointment_cancelled            yes  yes
        draw_completed                   yes  drawn
        partial_results                  no   no
        completed                        no   no
        corrected                        no   no
        sample_error                     no   no
        cancelled                        no   no
        never_heard_of                   no   no
    """,
    "on_site_collection": """
        ordered                          yes  yes
        requisition_created              yes  yes
        requisition_bypassed             yes  yes
        draw_completed                   yes  drawn
        partial_results                  no   no
        completed                        no   no
        corrected                        no   no
        sample_error                     no   no
        cancelled                        no   no
        never_heard_of                   no   no
    """,
}
INCLUDES = {"": "", "kits": "    include: [registered_kits]\n", "drawn": "    include: [drawn]\n"}
RULE = """
  - name: everything
    mode: enforce
    methods: [METHOD]
    act_any_time: true
    backlog: include
INCLUDE    when:
      - elapsed: {since: order.created, at_least: 1h}
    then: {action: cancel_order}
"""

Cells = dict[str, tuple[bool, str]]  # status -> what Junction does, what our policy says


def cells(method: str) -> Cells:
    rows = (line.split() for line in TABLE[method].strip().splitlines())
    return {name: (junction == "yes", policy) for name, junction, policy in rows}


def an_order(world: World, method: str, name: str, *, direct: bool = False) -> str:
    """An order that has come to this status by its usual path, two days ago, or directly from `ordered`. A
    kit that shows a registration has been handed out from stock, without any transit."""
    at = now() - timedelta(days=2)
    direct = direct or name in {"registered", "testkit_registered", "never_heard_of"}
    order_id = world.order(
        method=method,
        registrable=name == "awaiting_registration",
        state="ordered" if direct else name,
        created_at=at.isoformat(),
        step_seconds=60.0,
    )
    if direct:
        status = f"received.{method}.{name}" if name == "never_heard_of" else name
        world.sandbox.event(order_id, status, at=(at + timedelta(hours=1)).isoformat())
    world.deliver(order_id)
    return order_id


def drive(world: World, method: str, include: str, *, direct: bool = False) -> dict[str, str]:
    """Status -> what happened to the order that was in it."""
    world.policy(RULE.replace("METHOD", method).replace("INCLUDE", INCLUDES[include]))
    ids = {name: an_order(world, method, name, direct=direct) for name in cells(method)}
    before = {name: world.status(id_) for name, id_ in ids.items()}
    world.drain()
    return {name: _happened(world, id_, before[name]) for name, id_ in ids.items()}


def _happened(world: World, order_id: str, before: str) -> str:
    calls = world.sandbox.calls(order_id=order_id, operation="cancel_order")
    states = [action["state"] for action in world.actions(order_id)]
    match [call["applied"] for call in calls], states:
        case [], []:
            return "left alone" if world.status(order_id) == before else "?"
        case [True], ["confirmed"] if (
            world.status(order_id) == world.row(order_id)["status_name"] == "cancelled"
        ):
            return "cancelled"
        case applied, states:
            return f"calls {applied}, actions {states}"


CASES = [(method, include) for method in TABLE for include in INCLUDES]


@pytest.mark.parametrize(("method", "include"), CASES)
def test_every_status_is_cancelled_exactly_where_the_table_says_so(
    sqlite_world: World, method: str, include: str
) -> None:
    expected = {
        name: "cancelled" if policy in {"yes", include or "yes"} else "left alone"
        for name, (_, policy) in cells(method).items()
    }
    assert drive(sqlite_world, method, include) == expected


@pytest.mark.parametrize("method", ["testkit", "on_site_collection"])
def test_a_status_counts_by_itself_whatever_the_history_does_not_tell(
    sqlite_world: World, method: str
) -> None:
    assert drive(sqlite_world, method, "", direct=True) == {
        name: "cancelled" if policy == "yes" else "left alone" for name, (_, policy) in cells(method).items()
    }


def test_the_same_on_the_other_database(postgres_world: World) -> None:
    happened = drive(postgres_world, "walk_in_test", "")
    assert {name for name, what in happened.items() if what == "cancelled"} == {
        name for name, (_, policy) in cells("walk_in_test").items() if policy == "yes"
    }


@pytest.mark.parametrize("method", TABLE)
def test_the_stand_in_accepts_a_cancel_exactly_where_junctions_guide_says_so(
    sqlite_world: World, method: str
) -> None:
    world = sqlite_world
    accepted = {}
    for name in cells(method):
        order_id = an_order(world, method, name)
        answer = world.sandbox.api.post(f"/v3/order/{order_id}/cancel")
        accepted[name] = answer.status_code == 200
    assert accepted == {name: junction for name, (junction, _) in cells(method).items()}


@pytest.mark.parametrize("name", ["requisition_created", "requisition_bypassed"])
def test_a_kit_that_came_back_to_received_after_delivery_has_shipped(sqlite_world: World, name: str) -> None:
    world = sqlite_world
    world.policy(RULE.replace("METHOD", "testkit").replace("INCLUDE", INCLUDES["kits"]))
    at = (now() - timedelta(days=2)).isoformat()
    kit = world.order(registrable=True, state=name, created_at=at)
    world.deliver(kit)
    world.drain()
    assert world.posts(kit) == 0
