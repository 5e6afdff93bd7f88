"""The tables of statuses: complete, and in agreement with what Junction documents."""

from typing import Any

import pytest

from sandbox.machine import STEPS, Method, course_of, full_status, low_level_of, step_of

BEGINNING = {"ordered", "requisition_created", "requisition_bypassed"}
APPOINTMENT = {"appointment_pending", "appointment_scheduled", "appointment_cancelled"}
CANCELLABLE = {
    Method.TESTKIT: BEGINNING | {"awaiting_registration", "registered", "testkit_registered"},
    Method.WALK_IN: BEGINNING | APPOINTMENT,
    Method.AT_HOME: BEGINNING | APPOINTMENT | {"draw_completed"},
    Method.ON_SITE: BEGINNING | {"draw_completed"},
}
OLDER_SPELLINGS = {"received.testkit.testkit_registered", "completed.walk_in_test.order_completed"}


@pytest.mark.parametrize("method", Method)
def test_an_order_is_cancellable_exactly_where_the_guide_says_so(method: Method) -> None:
    assert {name for name, step in STEPS[method].items() if step.cancellable} == CANCELLABLE[method]


def test_the_tables_hold_every_documented_status_and_two_older_spellings(openapi: dict[str, Any]) -> None:
    ours = {full_status(method, name) for method, steps in STEPS.items() for name in steps}
    assert ours - OLDER_SPELLINGS == set(openapi["components"]["schemas"]["OrderStatus"]["enum"])
    assert ours >= OLDER_SPELLINGS


@pytest.mark.parametrize(
    ("method", "registrable"), [(method, False) for method in Method] + [(Method.TESTKIT, True)]
)
def test_a_course_leads_only_through_statuses_of_its_method(method: Method, registrable: bool) -> None:
    course = course_of(method, registrable=registrable)
    for name in STEPS[method].keys() & (set(course.path) | course.departures.keys()):
        assert course.towards(name)[0] == "ordered"
        assert course.towards(name)[-1] == name
    assert set(course.path) | course.departures.keys() <= STEPS[method].keys()


def test_a_registrable_kit_comes_back_to_received_after_it_was_delivered() -> None:
    path = course_of(Method.TESTKIT, registrable=True).path
    levels = [STEPS[Method.TESTKIT][name].high_level for name in path]
    assert levels[path.index("with_customer")] == "collecting_sample"
    assert levels[path.index("registered")] == "received"


def test_a_kit_cannot_become_an_appointment() -> None:
    with pytest.raises(ValueError, match="appointment_scheduled"):
        course_of(Method.TESTKIT, registrable=False).towards("appointment_scheduled")


def test_a_status_nobody_knows_is_left_as_it_is() -> None:
    assert full_status(Method.TESTKIT, "received.testkit.teleported") == "received.testkit.teleported"
    assert step_of(Method.TESTKIT, "received.testkit.teleported") is None
    assert low_level_of("received.testkit.teleported") == "teleported"


def test_a_status_under_the_wrong_high_level_is_not_in_the_tables() -> None:
    assert step_of(Method.ON_SITE, "sample_with_lab.on_site_collection.draw_completed") is not None
    assert step_of(Method.ON_SITE, "collecting_sample.on_site_collection.draw_completed") is None
