"""The trace says why, in JSON and in words, and gives nobody away."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from workers.core.anchors import Anchor
from workers.core.calendar import Duration
from workers.core.case import Case
from workers.core.conditions import (
    AnyOf,
    Condition,
    Labelled,
    Negated,
    OfOrder,
    Patient,
    Remaining,
    SignalStands,
)
from workers.core.order import Appointment, Order
from workers.core.plan import plan
from workers.core.policy import Act, Exemption, Mode, Policy, Rule
from workers.core.status import Method
from workers.core.trace import render_text, trace
from workers.core.words import Word

NEW_YORK = ZoneInfo("America/New_York")
Orders = Callable[..., Order]
Rules = Callable[..., Rule]
Tracer = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def traced(a_case: Callable[..., Case], a_policy: Callable[..., Policy]) -> Tracer:
    def make(order: Order, *rules: Rule, policy: dict[str, Any] | None = None, **case: Any) -> dict[str, Any]:
        of, made_of = a_policy(*rules, **(policy or {})), a_case(order, **case)
        return trace(of, made_of, plan(of, made_of))

    return make


@pytest.fixture(scope="session")
def visit(an_order: Orders, a_slot: Callable[..., Appointment]) -> Order:
    slot = a_slot(starts_in=timedelta(hours=40))
    return an_order("appointment_scheduled", method="at_home_phlebotomy", slot=slot)


@pytest.fixture(scope="session")
def unconfirmed(a_rule: Rules, in_status: Callable[..., Condition]) -> Rule:
    near = Remaining(Anchor("appointment.start"), None, Duration.parse("30h"))
    confirmed = SignalStands("visit.confirmed")
    return a_rule(in_status("appointment_scheduled"), near, name="unconfirmed", unless=(confirmed,))


def test_a_rule_to_come_is_a_tree_with_its_times(
    traced: Tracer, visit: Order, unconfirmed: Rule, a_rule: Rules, in_status: Callable[..., Condition]
) -> None:
    never_booked = a_rule(in_status("ordered"), name="never-booked", mode=Mode.REVIEW)
    text = render_text(traced(visit, unconfirmed, never_booked), NEW_YORK)
    assert text.splitlines() == [
        "order order-1 at_home_phlebotomy, appointment_scheduled since 13 Nov 12:00 ET",
        " unconfirmed   NOT YET   due 18 Nov 22:00 ET, possible until 19 Nov 03:30 ET (refund)",
        "   status in [appointment_scheduled]               yes",
        (
            "   remaining until appointment.start, at_most 30h  "
            "no (appointment.start is 20 Nov 04:00 ET), becomes true 18 Nov 22:00 ET"
        ),
        "   unless signal name visit.confirmed, on order    no   <- this would stop the rule",
        (
            " never-booked  NO        mode review, "
            "status in [ordered]: appointment_scheduled since 13 Nov 12:00 ET"
        ),
        "next look: 18 Nov 22:00 ET",
    ]


def test_a_year_is_told_only_where_it_is_another_one(
    traced: Tracer, an_order: Orders, a_rule: Rules, in_status: Callable[..., Condition]
) -> None:
    text = render_text(traced(an_order(), a_rule(in_status("ordered", for_="60d"))), NEW_YORK)
    assert "13 Nov 12:00 ET" in text
    assert "next look: 12 Jan 2027 12:00 ET" in text


def test_it_is_plain_json_with_the_keys_that_pages_rely_on(
    traced: Tracer, visit: Order, unconfirmed: Rule
) -> None:
    found = json.loads(json.dumps(traced(visit, replace(unconfirmed, notice=Duration.parse("1h")))))
    assert set(found) == {
        "order", "method", "status", "since", "at", "next_look", "held", "rules", "left_out",
    }  # fmt: skip
    (rule,) = found["rules"]
    assert set(rule) == {
        "rule", "mode", "action", "priority", "verdict", "key", "why", "first", "expected", "due_since",
        "last", "last_by", "when", "unless", "guards", "settled", "slot", "hours", "exempt", "kept_by",
        "notice",
    }  # fmt: skip
    assert set(rule["when"][0]) == {"text", "actual", "needed", "now", "becomes", "until", "parts"}
    assert set(rule["guards"][0]) == {"name", "demands", "now", "becomes", "until"}
    assert set(rule["hours"]) == {"now", "becomes", "until"}
    assert set(rule["notice"]) == {"length", "send_at", "due_at", "sent", "delivered_at"}


def test_what_would_end_a_rule_is_named(traced: Tracer, visit: Order, unconfirmed: Rule) -> None:
    (rule,) = traced(visit, unconfirmed)["rules"]
    assert (rule["last"], rule["last_by"]) == ("2026-11-19T08:30:00Z", "refund")
    (confirmation,) = rule["unless"]
    assert (confirmation["needed"], confirmation["now"], confirmation["until"]) == ("no", "no", None)


def test_inside_not_the_need_is_turned_round(traced: Tracer, an_order: Orders, a_rule: Rules) -> None:
    rule = a_rule(Negated(AnyOf((SignalStands("a"), SignalStands("b")))))
    (condition,) = traced(an_order(), rule)["rules"][0]["when"]
    (either,) = condition["parts"]
    assert [condition["needed"], either["needed"]] == ["yes", "no"]
    assert [part["needed"] for part in either["parts"]] == ["no", "no"]


def test_rules_without_a_part_are_left_out_with_the_reason(
    traced: Tracer, an_order: Orders, a_rule: Rules
) -> None:
    others = a_rule(name="others", methods=(Method.WALK_IN,))
    found = traced(an_order(), a_rule(), others, a_rule(name="asleep", mode=Mode.OFF))
    assert found["left_out"] == [
        {"rule": "others", "why": "not for testkit"},
        {"rule": "asleep", "why": "off"},
    ]


@pytest.mark.parametrize(
    ("case", "why"),
    [
        ({"held": True}, "a person holds this order"),
        ({"labels": frozenset({("user", "inventory")})}, "exempt: stock"),
        ({"labels": None}, "exempt: stock"),
        ({"signals": {"stay": datetime.fromisoformat("2026-11-18T12:00:00Z")}}, "kept by keeper"),
        ({"decided": frozenset({"live:order-1:cancel_order:rule:event:1"})},
         "this very occasion has been decided"),
        ({"environment": "production"}, "needs the policy's environment and our team"),
        ({"cancel_confirmed": True}, "needs never cancelled before"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)  # fmt: skip
def test_why_not_is_said_in_a_phrase(
    case: dict[str, Any], why: str, traced: Tracer, an_order: Orders, a_rule: Rules
) -> None:
    stock = Exemption("stock", "a cupboard", (Labelled(("inventory",), "user"),))
    keeper = a_rule(SignalStands("stay"), name="keeper", action=Act.KEEP)
    found = traced(an_order(), a_rule(), keeper, policy={"exemptions": (stock,)}, **case)
    assert found["rules"][0]["why"] == why


def test_of_what_is_due_nothing_stands_against(traced: Tracer, an_order: Orders, a_rule: Rules) -> None:
    (rule,) = traced(an_order(), a_rule())["rules"]
    assert (rule["verdict"], rule["why"], rule["first"]) == ("due", None, "2026-11-18T17:00:00Z")


def test_nobody_can_read_a_birthday_or_a_note_out_of_it(
    traced: Tracer, an_order: Orders, a_rule: Rules
) -> None:
    patient = an_order(birth_date=date(2009, 4, 1), state="RI", passthrough="Ada Lovelace, ward 7")
    young, marked = Patient(age_below=18), OfOrder(passthrough_contains="ward")
    young_here = Patient(age_below=18, state_in=(Word("RI"),))
    rule = a_rule(young, AnyOf((young_here, marked)), unless=(Negated(young),))
    found = traced(patient, rule)
    said = json.dumps(found) + render_text(found, NEW_YORK, full=True)
    assert "04-01" not in said
    assert "1 Apr" not in said
    assert "Lovelace" not in said
