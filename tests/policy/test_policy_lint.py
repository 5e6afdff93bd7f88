"""Warnings: what a policy may say, and probably should not."""

from pathlib import Path

import pytest

from workers import policy_lint
from workers.core.policy import Policy
from workers.policy_file import locate, parse_policy
from workers.policy_lint import lint

EXAMPLES = Path(__file__).parents[2] / "examples"


def a_policy(*rules: str, more: str = "") -> str:
    head = f"version: 1\npolicy: acme-care\nenvironment: sandbox\n{more}\nrules:\n"
    return head + "".join(f"  - {rule}\n" for rule in rules)


def a_rule(
    when: str = "order: {origin: initial}",
    *,
    name: str = "stale",
    methods: str = "on_site_collection",
    then: str = "action: cancel_order",
    more: str = "mode: enforce",
) -> str:
    return f"{{name: {name}, methods: [{methods}], when: [{when}], then: {{{then}}}, {more}}}"


def warnings(text: str, tested: policy_lint.Tested | None = None) -> list[tuple[str, str]]:
    """What is underlined, and what is said about it."""
    policy = parse_policy(text, "autocancel.yaml")
    assert isinstance(policy, Policy), policy
    found = locate(text, lint(policy, tested))
    return [(it.excerpt[it.column - 1 : it.end_column - 1], it.message) for it in found]


def test_a_careful_rule_has_no_warnings() -> None:
    assert warnings(a_policy(a_rule())) == []


def test_the_full_example_is_warned_of_what_it_does_on_purpose() -> None:
    assert warnings((EXAMPLES / "autocancel.yaml").read_text(encoding="utf-8")) == [
        ("ignore", "cancels home visits that are no longer refunded"),
        ("always", "takes PSC slots away without telling the platform before; add a notice"),
        ("always", "takes PSC slots away without telling the platform before; add a notice"),
    ]


def test_a_rule_that_is_off_is_left_in_peace() -> None:
    rule = a_rule("status: {in: [registered]}", methods="testkit", more="mode: off")
    assert warnings(a_policy(rule)) == []
    rule = a_rule("status: {in: [registered]}", methods="testkit")
    assert warnings(a_policy(rule, more="mode: off")) == []


# --- statuses --------------------------------------------------------------------------------------------


def test_a_status_of_only_some_of_the_methods_is_pointed_at() -> None:
    when = "any: [not: {status: {in: [ordered, draw_completed]}}, seen: {status: appointment_pending}]"
    rule = a_rule(when, methods="at_home_phlebotomy, walk_in_test, on_site_collection")
    assert warnings(a_policy(rule)) == [
        ("draw_completed", "no order of walk_in_test is ever 'draw_completed'"),
        ("appointment_pending", "no order of on_site_collection is ever 'appointment_pending'"),
    ]


@pytest.mark.parametrize("status", ["registered", "testkit_registered", "requisition_created"])
def test_a_kit_is_seldom_still_cancellable_after_its_delivery(status: str) -> None:
    (warning,) = warnings(a_policy(a_rule(f"status: {{in: [ordered, {status}]}}", methods="testkit")))
    assert warning[0] == status
    assert "mostly" in warning[1]
    assert warnings(a_policy(a_rule("status: {in: [requisition_created]}"))) == []


def test_opting_into_late_cancellations_is_pointed_at() -> None:
    rule = a_rule(methods="testkit", more="include: [redraws, scheduled, registered_kits, drawn]")
    assert [word for word, _ in warnings(a_policy(rule))] == ["registered_kits", "drawn"]


# --- appointments ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stay", "warned"), [("59d", True), ("5bd", True), ("8w", True), ("60d", False), ("90d", False)]
)
def test_a_patient_may_walk_in_for_two_months(stay: str, warned: bool) -> None:
    rule = a_rule(f"status: {{in: [requisition_created], for: {stay}}}", methods="walk_in_test")
    assert [word for word, _ in warnings(a_policy(rule))] == [stay] * warned


@pytest.mark.parametrize(
    "asked",
    [
        "appointment: {is: [none]}",
        "elapsed: {since: appointment.end, at_least: 3d}",
        "any: [remaining: {until: appointment.start, at_most: 3d}]",
    ],
)
def test_asking_about_the_appointment_is_as_good_as_waiting(asked: str) -> None:
    rule = a_rule(f"status: {{in: [requisition_created], for: 5d}}, {asked}", methods="walk_in_test")
    assert warnings(a_policy(rule)) == []


def test_nobody_walks_in_without_a_requisition() -> None:
    assert warnings(a_policy(a_rule("status: {in: [ordered], for: 5d}", methods="walk_in_test"))) == []


def test_taking_a_slot_away_needs_a_notice() -> None:
    then = "action: cancel_order, psc_appointment: always"
    assert [word for word, _ in warnings(a_policy(a_rule(methods="walk_in_test", then=then)))] == ["always"]
    assert warnings(a_policy(a_rule(methods="walk_in_test", then=then, more="notice: 2d"))) == []
    assert warnings(a_policy(a_rule(methods="testkit", then=then))) == []


def test_the_choice_of_the_whole_policy_counts_for_each_rule() -> None:
    assert len(warnings(a_policy(a_rule(methods="walk_in_test"), more="psc_appointment: always"))) == 1


def test_giving_up_a_refund_is_pointed_at() -> None:
    rule = a_rule(methods="at_home_phlebotomy", more="refund: ignore")
    assert warnings(a_policy(rule)) == [("ignore", "cancels home visits that are no longer refunded")]


# --- rules among others ----------------------------------------------------------------------------------


def test_two_rules_for_the_same_orders_need_a_priority() -> None:
    first, second = a_rule(name="first"), a_rule(name="second")
    assert [word for word, _ in warnings(a_policy(first, second))] == ["second"]
    assert warnings(a_policy(first, second.replace("mode: enforce", "mode: enforce, priority: 5"))) == []
    assert warnings(a_policy(first, second.replace("mode: enforce", "mode: review"))) == []
    assert warnings(a_policy(first, second.replace("on_site_collection", "testkit"))) == []


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("status: {in: [ordered]}", "status: {in: [requisition_created]}", False),
        ("status: {in: [ordered]}", "any: [status: {in: [ordered]}, status: {in: [cancelled]}]", True),
        ("status: {in: [ordered]}", "any: [status: {in: [cancelled]}, signal: {name: refunded}]", True),
        ("status: {in: [ordered]}", "not: {status: {in: [ordered]}}", True),
        ("status: {in: [ordered]}", "all: [status: {in: [cancelled]}, order: {origin: initial}]", False),
        ("status: {in: [completed]}", "status: {in: [order_completed]}", True),
        ("appointment: {is: [none]}", "appointment: {is: [none, pending]}", True),
        ("appointment: {is: [none]}", "appointment: {is: [pending]}", False),
    ],
)
def test_rules_for_different_statuses_never_meet(one: str, other: str, both: bool) -> None:
    rules = [a_rule(when, name=name, methods="walk_in_test") for name, when in (("a", one), ("b", other))]
    assert [word for word, _ in warnings(a_policy(*rules))] == ["b"] * both


def test_kits_in_stock_look_like_duplicates() -> None:
    rule = a_rule("duplicate: {within: 14d}", methods="testkit")
    exempt = "exemptions: [{name: stock, reason: stock, if: [any: [label: {on: user, any_of: [inventory]}]]}]"
    assert len(warnings(a_policy(rule))) == 1
    assert warnings(a_policy(rule, more=exempt)) == []
    assert warnings(a_policy(a_rule("duplicate: {within: 14d}", methods="walk_in_test"))) == []


def test_a_keep_rule_in_shadow_protects_nobody() -> None:
    keep = a_rule(then="action: keep", more="mode: shadow")
    assert warnings(a_policy(keep)) == [("keep", "a keep rule in shadow keeps nothing; say mode: enforce")]
    assert warnings(a_policy(keep.replace("shadow", "enforce"))) == []


# --- hours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "more", "warned"),
    [
        ("from: 05:00, to: 08:00, zone: patient", "mode: enforce", True),
        ("from: 05:00, to: 08:00, zone: patient", "act_any_time: true", False),
        ("from: 05:00, to: 08:00", "mode: enforce", True),  # New York sleeps late, and everybody else later
        ("from: 20:00, to: 23:00", "mode: enforce", False),  # Honolulu is awake
        ("from: 08:00, to: 10:00, days: workdays", "mode: enforce", False),
    ],
)
def test_a_clock_outside_the_acting_hours_is_never_open(clock: str, more: str, warned: bool) -> None:
    found = warnings(a_policy(a_rule(f"clock: {{{clock}}}", more=more)))
    assert [message.partition(":")[0] for _, message in found] == ["never open"] * warned


def test_only_a_clock_that_must_be_open_can_stop_a_rule() -> None:
    early = "clock: {from: 05:00, to: 08:00}"
    assert len(warnings(a_policy(a_rule(f"all: [{early}, order: {{origin: initial}}]")))) == 1
    assert warnings(a_policy(a_rule(f"any: [{early}, order: {{origin: initial}}]"))) == []
    assert warnings(a_policy(a_rule(f"not: {{{early}}}"))) == []


# --- tests -----------------------------------------------------------------------------------------------


def test_a_rule_that_acts_is_tested_both_ways() -> None:
    half = a_rule(name="half", more="mode: enforce, priority: 1")
    text = a_policy(a_rule(name="tested"), half, a_rule(name="watching", more="mode: shadow"))
    tested = policy_lint.Tested(positive=frozenset({"tested"}), negative=frozenset({"tested", "half"}))
    assert warnings(text, tested) == [("half", "no test in which 'half' acts")]
    assert warnings(text) == []
