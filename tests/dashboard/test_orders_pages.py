"""Orders and decisions as an operator sees them: what is found, what is said, what can be done about it."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from receiver.dashboard.openings import verdict_of
from workers.policy_file import Loaded, load_policy, parse_policy
from workers.policy_loading import accept
from workers.policy_test import run_tests
from workers.store import controls, orders, reads, schema
from workers.store.database import reading, store_time, writing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dashboard.conftest import Dashboard, Eventually

XSS = "<script>alert(1)</script>"
KIT = "received.testkit.ordered"

POLICY = """
version: 1
policy: tests
environment: sandbox
time: {settle: 0s}
rules:
  - name: stuck-kit
    mode: MODE
    methods: [testkit]
    act_any_time: true
    backlog: include
    when:
      - status: {in: [ordered, requisition_created], for: 10d}
    then: {action: cancel_order}
"""


def put_order(
    dashboard: Dashboard, order_id: str = "order-1", *statuses: str, days_ago: float = 1, **columns: Any
) -> str:
    """An order with a history of these statuses, an hour each, and the row that belongs to it."""
    start = dashboard.clock() - timedelta(days=days_ago)
    history = statuses or (KIT,)
    level, method, name = history[-1].split(".")
    for number, status in enumerate(history):
        at = start + timedelta(hours=number)
        dashboard.put(
            "order_events",
            order_id=order_id,
            event_id=number,
            at=at,
            status=status,
            seen_at=at,
            delivery=None,
        )
    facts = {
        "updated_at": start.isoformat(), "observed_at": start.isoformat(), "methods": [method], "zones": [],
        "team_id": "team-1",
    }  # fmt: skip
    row = {
        "id": order_id, "method": method, "status": history[-1], "status_name": name, "status_at": start,
        "open": level not in {"completed", "cancelled", "failed"}, "facts": facts, "facts_version": 1,
        "created_at": start, "changed_at": start, "outlook": "kept",
    }  # fmt: skip
    dashboard.put("orders", **{**row, **columns})
    return order_id


def put_decision(dashboard: Dashboard, order_id: str = "order-1", **columns: Any) -> int:
    now = dashboard.clock()
    row = {
        "order_id": order_id, "space": "live", "rule": "stuck-kit", "action": "cancel_order",
        "verdict": "keep", "state": "final", "mode": "enforce", "generation": 1,
        "policy_hash": "0" * 64, "trigger": "due", "at": now, "last_at": now, "times": 1,
        "facts_version": 1, "reason": "a reason",
        "trace": {"order": order_id, "status": "ordered", "rules": [], "left_out": []},
    }  # fmt: skip
    dashboard.put("decisions", **{**row, **columns})
    return int(dashboard.rows("decisions")[-1]["id"])


def activate(dashboard: Dashboard, folder: Path, mode: str = "review") -> None:
    path = folder / "policy.yaml"
    path.write_text(POLICY.replace("MODE", mode))
    found = load_policy(path)
    assert isinstance(found, Loaded)
    with writing(dashboard.store) as connection:
        accept(connection, found, str(path), store_time(connection))


def text_of(page: str) -> str:
    """What a page says, without its tags."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page)))


# --- the list ----------------------------------------------------------------------------------------------


def test_a_fresh_installation_says_what_to_do(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in("viewer")
    assert "No order yet" in browser.get("/orders").text
    assert "Nothing has been decided yet" in browser.get("/decisions").text


def test_orders_are_listed_with_window_plan_and_flags(dashboard: Dashboard) -> None:
    due = dashboard.clock() + timedelta(hours=2, minutes=1, seconds=50)
    put_order(dashboard, "free", outlook="will_cancel", outlook_rule="stuck-kit", outlook_at=due)
    put_order(dashboard, "shipped", KIT, "collecting_sample.testkit.transit_customer")
    put_order(dashboard, "strange", "received.testkit.on_the_moon", outlook="unknown_status")
    with writing(dashboard.store) as connection:
        controls.hold(connection, "free", actor="ana", reason="asked to", now=dashboard.clock())
    said = text_of(dashboard.sign_in().get("/orders").text)
    assert "3 orders" in said
    assert "Will cancel in 2 h 01 m" in said
    assert "on hold" in said
    assert "Closed: shipped" in said
    assert "on_the_moon" in said


def test_a_filter_that_is_not_understood_is_shown_as_wrong_and_nothing_is_listed(
    dashboard: Dashboard,
) -> None:
    put_order(dashboard)
    answer = dashboard.sign_in().get(
        "/orders?method=testkit&status=lost_in_space&created_from=soon&colour=red"
    )
    said = text_of(answer.text)
    assert answer.status_code == 400
    assert "method: test kit" in said
    assert "status: lost_in_space no such value" in said
    assert "created from: soon write a day like 2026-11-21" in said
    assert "colour: red there is no such filter" in said
    assert "/orders/order-1" not in answer.text


def test_a_filter_that_finds_nothing_can_be_cleared(
    dashboard: Dashboard, links: Callable[[str], set[str]]
) -> None:
    put_order(dashboard)
    page = dashboard.sign_in().get("/orders?method=walk_in_test").text
    assert "No order fits these filters" in page
    assert {"/orders?", "/orders"} <= links(page)


@pytest.mark.parametrize(
    "path", ["/orders?before=never", "/orders?since=2026-01-01~x", "/decisions?before=x"]
)
def test_a_place_that_cannot_be_read_is_no_crash(dashboard: Dashboard, path: str) -> None:
    assert dashboard.sign_in().get(path).status_code == 400


def test_pages_lead_through_all_orders_and_back(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch, links: Callable[[str], set[str]]
) -> None:
    monkeypatch.setattr("receiver.dashboard.orders_page.ROWS", 2)
    for number in range(5):
        put_order(dashboard, f"order-{number}", days_ago=number)
    browser = dashboard.sign_in()

    def shown(page: str) -> list[str]:
        return sorted(link for link in links(page) if link.startswith("/orders/order-"))

    def turned(page: str, way: str) -> str:
        (link,) = [link for link in links(page) if f"?{way}=" in link]
        return browser.get(link).text

    first = browser.get("/orders").text
    second = turned(first, "before")
    third = turned(second, "before")
    assert [shown(page) for page in (first, second, third)] == [
        ["/orders/order-0", "/orders/order-1"],
        ["/orders/order-2", "/orders/order-3"],
        ["/orders/order-4"],
    ]
    assert shown(turned(third, "after")) == shown(second)
    assert shown(turned(turned(third, "after"), "after")) == shown(first)


def test_what_changes_while_one_reads_is_announced_and_moves_nothing(dashboard: Dashboard) -> None:
    put_order(dashboard)
    browser = dashboard.sign_in()
    page = browser.get("/orders").text
    region = re.search(r'id="news" data-live hx-get="([^"]+)"', page)
    assert region
    put_order(dashboard, "order-2", days_ago=0)
    pill = browser.get(html.unescape(region[1]), headers={"hx-request": "true", "hx-target": "div#news"}).text
    assert "1 changed since: show" in pill
    assert "<table" not in pill


def test_the_same_few_queries_list_one_order_or_many(dashboard: Dashboard, queries: list[str]) -> None:
    browser = dashboard.sign_in()
    put_order(dashboard, "order-0")
    browser.get("/orders")
    queries.clear()
    browser.get("/orders")
    one = len(queries)
    for number in range(1, 20):
        put_order(dashboard, f"order-{number}")
    queries.clear()
    browser.get("/orders")
    assert 0 < len(queries) <= one + 2  # the shell around the page may look anew


@pytest.fixture
def queries(dashboard: Dashboard) -> list[str]:
    """Every SELECT the store was asked."""
    seen: list[str] = []
    event.listen(
        dashboard.store,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: seen.append(statement) if "SELECT" in statement else None,
    )
    return seen


# --- as a file ---------------------------------------------------------------------------------------------


def test_the_filtered_orders_come_as_csv_and_json_and_the_audit_knows(dashboard: Dashboard) -> None:
    put_order(dashboard, "kit")
    put_order(dashboard, "visit", "received.walk_in_test.ordered")
    browser = dashboard.sign_in("viewer")
    rows = list(csv.DictReader(io.StringIO(browser.get("/orders/export.csv?method=testkit").text)))
    assert [(row["id"], row["window"], row["status"]) for row in rows] == [("kit", "Open", KIT)]
    found = json.loads(browser.get("/orders/export.json").text)
    assert {row["id"] for row in found} == {"kit", "visit"}
    assert json.loads(browser.get("/orders/export.json?held=1").text) == []
    assert [line["target"] for line in dashboard.rows("audit") if line["action"] == "export"] == [
        "orders.csv",
        "orders.json",
        "orders.json",
    ]


def test_a_large_export_holds_every_order_once(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.dashboard.orders_page.EXPORT_ROWS", 2)
    for number in range(5):
        put_order(dashboard, f"order-{number}")
    found = json.loads(dashboard.sign_in().get("/orders/export.json").text)
    assert sorted(row["id"] for row in found) == [f"order-{number}" for number in range(5)]


def test_a_cell_that_looks_like_a_formula_is_made_harmless(dashboard: Dashboard) -> None:
    put_order(dashboard, "order-1", user_id="=cmd|' /C calc'!A0")
    (row,) = csv.DictReader(io.StringIO(dashboard.sign_in().get("/orders/export.csv").text))
    assert row["user_id"] == "'=cmd|' /C calc'!A0"


def test_a_wrong_filter_exports_nothing(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    assert browser.get("/orders/export.csv?method=owl").status_code == 400
    assert browser.get("/orders/export.xml").status_code == 404


# --- one order ---------------------------------------------------------------------------------------------


def test_an_order_shows_its_map_its_timeline_and_why(dashboard: Dashboard, tmp_path: Path) -> None:
    put_order(dashboard, "order-1", KIT, "received.testkit.requisition_created")
    activate(dashboard, tmp_path)
    put_decision(dashboard, reason="the fresh order is no longer due", times=14)
    page = dashboard.sign_in().get("/orders/order-1").text
    said = text_of(page)
    assert 'role="img"' in page
    assert "cancellable until here" in said
    assert "Requisition created" in said
    assert "the fresh order is no longer due" in said
    assert "the same 14 times" in said
    assert "status in [ordered, requisition_created], for 10d" in said
    assert 'style="' not in page


def test_a_kit_that_left_says_by_how_much_it_escaped_the_rule(dashboard: Dashboard, tmp_path: Path) -> None:
    put_order(dashboard, "order-1", KIT, "collecting_sample.testkit.transit_customer", days_ago=3)
    activate(dashboard, tmp_path, "enforce")
    said = text_of(dashboard.sign_in().get("/orders/order-1").text)
    assert re.search(r"shipped \d\d \w+ \d\d:\d\d, 9 d 23 h before stuck-kit would have acted", said)


def test_an_order_without_any_policy_or_history_has_its_page(dashboard: Dashboard) -> None:
    now = dashboard.clock()
    dashboard.put("orders", id="bare", open=True, facts={}, facts_version=0, changed_at=now)
    said = text_of(dashboard.sign_in().get("/orders/bare").text)
    assert "No policy is active" in said
    assert "it is not known how the sample is collected" in said


def test_the_timeline_can_be_narrowed_to_one_kind(dashboard: Dashboard) -> None:
    put_order(dashboard)
    put_decision(dashboard)
    browser = dashboard.sign_in()
    assert 'id="ev-0"' in browser.get("/orders/order-1").text
    narrowed = browser.get("/orders/order-1?show=decision").text
    assert 'id="ev-0"' not in narrowed
    assert 'id="dec-1"' in narrowed
    assert 'id="ev-0"' in browser.get("/orders/order-1?show=nonsense").text


def test_what_is_not_there_is_a_page_that_says_so(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    for path in ("/orders/nobody", "/orders/nobody/hold", "/decisions/7", f"/decisions/{10**30}"):
        answer = browser.get(path)
        assert answer.status_code == 404, path
        assert "Not here" in answer.text


def test_markup_in_what_is_stored_is_shown_as_text(dashboard: Dashboard, tmp_path: Path) -> None:
    put_order(dashboard, "order-1", f"received.testkit.{XSS}", user_id=XSS, outlook_rule=XSS)
    condition = {"text": XSS, "actual": XSS, "needed": "yes", "now": "no", "becomes": None, "until": None}
    rule = {
        "rule": XSS, "mode": XSS, "action": XSS, "verdict": XSS, "why": XSS,
        "when": [{**condition, "parts": [condition | {"parts": []}]}],
    }  # fmt: skip
    number = put_decision(dashboard, rule=XSS, reason=XSS, trace={"rules": [rule], "status": XSS})
    dashboard.put("holds", order_id="order-1", at=dashboard.clock(), actor=XSS, reason=XSS)
    activate(dashboard, tmp_path)
    browser = dashboard.sign_in()
    paths = ("/orders", "/orders/order-1", "/decisions", f"/decisions/{number}", f"/orders?q={XSS}")
    for path in (*paths, f"/orders?{XSS}={XSS}", "/orders/order-1/release"):
        page = browser.get(path).text
        assert XSS not in page, path
        assert "&lt;script&gt;" in page or path == "/orders/order-1/release", path


def test_what_the_settings_may_keep_of_a_patient_is_on_no_page(dashboard: Dashboard, tmp_path: Path) -> None:
    put_order(dashboard)
    canaries = {
        "birth_date": "1971-02-03",
        "state": "ZZ",
        "passthrough": "canary-passthrough",
        "user_hash": "canary",
    }
    with writing(dashboard.store) as connection:
        facts = {**dashboard.rows("orders")[0]["facts"], **canaries}
        connection.execute(schema.orders.update().values(facts=facts))
    activate(dashboard, tmp_path)
    browser = dashboard.sign_in()
    for path in ("/orders", "/orders/order-1", "/orders/export.csv", "/orders/export.json"):
        page = browser.get(path).text
        assert not [value for value in canaries.values() if value in page], path


def test_the_list_and_the_page_agree_about_every_window(dashboard: Dashboard) -> None:
    """The lists' SQL and the page's words are two; here they are held together."""
    histories = (
        (KIT,),
        ("received.testkit.registered",),
        (KIT, "collecting_sample.testkit.with_customer", "received.testkit.requisition_created"),
        (KIT, "cancelled.testkit.cancelled"),
        ("cancelled.testkit.cancelled", KIT),
        ("received.testkit.on_the_moon",),
        ("collecting_sample.at_home_phlebotomy.appointment_scheduled",),
        ("collecting_sample.at_home_phlebotomy.draw_completed",),
        ("sample_with_lab.on_site_collection.draw_completed",),
        ("sample_with_lab.walk_in_test.partial_results",),
    )
    for number, history in enumerate(histories):
        put_order(dashboard, f"order-{number}", *history, reinstated=number == 4)
    with reading(dashboard.store) as connection:
        loaded = orders.load(connection, [f"order-{number}" for number in range(len(histories))])
        for order_id, stored in loaded.items():
            opening = verdict_of(stored.order).opening
            found = reads.list_orders(connection, reads.OrderFilter(openings=(opening,)))
            assert order_id in {row["id"] for row in found}, (order_id, opening)


# --- what one can do ---------------------------------------------------------------------------------------


def test_a_hold_is_explained_given_a_reason_and_released_again(dashboard: Dashboard) -> None:
    put_order(dashboard)
    browser = dashboard.sign_in()
    assert "No rule cancels this order" in browser.get("/orders/order-1/hold").text
    assert browser.post("/orders/order-1/hold", data={"reason": " "}).status_code == 400
    assert browser.post("/orders/order-1/hold", data={"reason": "asked to"}).status_code == 303
    assert [hold["reason"] for hold in dashboard.rows("holds")] == ["asked to"]
    assert "by operator" in text_of(browser.get("/orders/order-1").text)
    browser.post("/orders/order-1/release", data={"reason": "sorted out"})
    assert dashboard.rows("holds") == []
    lines = [(line["action"], line["actor"], line["reason"]) for line in dashboard.rows("audit")]
    assert lines == [("hold", "operator", "asked to"), ("release", "operator", "sorted out")]


def test_re_evaluating_makes_the_order_due_now(dashboard: Dashboard) -> None:
    put_order(dashboard)
    browser = dashboard.sign_in()
    browser.post("/orders/order-1/evaluate", data={"reason": "the policy looks wrong"})
    (row,) = dashboard.rows("orders")
    assert row["next_at"] is not None
    assert row["facts_version"] == 2
    assert [line["action"] for line in dashboard.rows("audit")] == ["evaluate"]


def test_a_viewer_sees_everything_and_changes_nothing(dashboard: Dashboard) -> None:
    put_order(dashboard)
    number = put_decision(dashboard, verdict="review", state="open", key="k")
    browser = dashboard.sign_in("viewer")
    assert "Hold from auto-cancel" not in browser.get("/orders/order-1").text
    assert "/approve" not in browser.get(f"/decisions/{number}").text
    for path in ("/orders/order-1/hold", "/orders/order-1/evaluate", f"/decisions/{number}/approve"):
        assert browser.post(path, data={"reason": "let me"}).status_code == 403
    assert dashboard.rows("holds") == []


# --- decisions ---------------------------------------------------------------------------------------------


def test_decisions_are_listed_newest_first_and_filtered(dashboard: Dashboard) -> None:
    put_decision(dashboard, "order-1", reason="the first of all")
    put_decision(dashboard, "order-2", reason="a second one", verdict="review", state="open", key="k")
    browser = dashboard.sign_in()
    said = text_of(browser.get("/decisions").text)
    assert said.index("a second one") < said.index("the first of all")
    said = text_of(browser.get("/decisions?state=open").text)
    assert "a second one" in said
    assert "the first of all" not in said
    assert browser.get("/decisions?verdict=perhaps").status_code == 400


def test_a_decision_says_what_was_asked_what_was_found_and_what_would_have_to_come(
    dashboard: Dashboard,
) -> None:
    rule = {
        "rule": "stuck-kit", "mode": "enforce", "action": "cancel_order", "verdict": "waits",
        "why": "too early", "expected": "2026-11-22T08:48:00Z",
        "when": [{
            "text": "status in [ordered], for 10d", "actual": "ordered since 2026-11-12T08:48:00Z",
            "needed": "yes", "now": "no", "becomes": "2026-11-22T08:48:00Z", "until": None, "parts": [],
        }],
        "unless": [{
            "text": "signal paid", "actual": "", "needed": "no", "now": "no", "becomes": None, "until": None,
            "parts": [],
        }],
        "guards": [
            {"name": "gone", "demands": "nothing shipped", "now": "yes", "becomes": None, "until": None},
        ],
        "notice": {"length": "3d", "sent": True, "delivered_at": None},
    }  # fmt: skip
    trace = {"rules": [rule], "left_out": [{"rule": "other", "why": "off"}], "status": "ordered"}
    number = put_decision(dashboard, trace=trace)
    said = text_of(dashboard.sign_in().get(f"/decisions/{number}").text)
    assert "does not hold: status in [ordered], for 10d" in said
    assert "becomes so 22 Nov 2026 08:48:00" in said
    assert "holds: unless signal paid" in said
    assert "1 guards hold" in said
    assert "sent, not delivered yet" in said
    assert "other (off)" in said


@pytest.mark.parametrize(
    ("fresh", "told"),
    [
        ({"fresh_look": None}, "looked at 21 Nov 2026 09:00:01 , status ordered unchanged."),
        (
            {"fresh_look": {"before": {"status": "ordered"}, "after": {"status": "transit_customer"}}},
            "looked at 21 Nov 2026 09:00:01 , status changed from ordered to transit_customer.",
        ),
        (
            {"fresh_look": {"before": {"outbound_tracking": False}, "after": {"outbound_tracking": True}}},
            "09:00:01 , status ordered unchanged, outbound tracking changed from no to yes.",
        ),
        ({}, None),
    ],
)
def test_a_decision_says_what_the_look_before_it_found(
    dashboard: Dashboard, fresh: dict[str, Any], told: str | None
) -> None:
    trace = {"rules": [], "left_out": [], "status": "ordered", "at": "2026-11-21T09:00:01Z", **fresh}
    number = put_decision(dashboard, trace=trace)
    said = text_of(dashboard.sign_in().get(f"/decisions/{number}").text)
    assert ("Guard before call: " in said) == (told is not None)
    assert told is None or told in said


def test_a_review_item_is_declined_once(dashboard: Dashboard) -> None:
    put_order(dashboard)
    number = put_decision(dashboard, verdict="review", state="open", key="k")
    browser = dashboard.sign_in()
    assert "It is not cancelled" in browser.get(f"/decisions/{number}/decline").text
    browser.post(f"/decisions/{number}/decline", data={"reason": "it is paid"})
    assert dashboard.rows("decisions")[0]["state"] == "declined"
    answer = browser.post(f"/decisions/{number}/decline", data={"reason": "it is paid"})
    assert "Not done" in browser.get(answer.headers["location"]).text


def test_a_review_item_whose_rule_still_holds_is_approved_and_its_step_is_planned(
    dashboard: Dashboard, tmp_path: Path
) -> None:
    put_order(dashboard, days_ago=20)
    activate(dashboard, tmp_path)
    number = put_decision(
        dashboard, verdict="review", state="open", mode="review", key="order-1:cancel_order:stuck-kit:event:0"
    )
    browser = dashboard.sign_in()
    assert "cannot" not in text_of(browser.get(f"/decisions/{number}/approve").text)
    answer = browser.post(f"/decisions/{number}/approve", data={"reason": "yes"})
    assert "Approved" in browser.get(answer.headers["location"]).text
    assert [(row["kind"], row["state"]) for row in dashboard.rows("actions")] == [("cancel_order", "planned")]


def test_only_approve_and_decline_are_answers(dashboard: Dashboard) -> None:
    number = put_decision(dashboard)
    assert dashboard.sign_in().get(f"/decisions/{number}/explode").status_code == 404


def test_a_decision_as_a_test_case_passes_against_its_own_policy(
    dashboard: Dashboard, tmp_path: Path
) -> None:
    put_order(dashboard, days_ago=20)
    activate(dashboard, tmp_path, "enforce")
    due_at = dashboard.rows("order_events")[0]["at"] + timedelta(days=10)
    number = put_decision(dashboard, verdict="cancel", state="confirmed", due_at=due_at, key="k")
    page = dashboard.sign_in().get(f"/decisions/{number}").text
    area = re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)
    assert area
    policy = parse_policy((tmp_path / "policy.yaml").read_text(), "policy.yaml")
    outcomes = run_tests("tests:\n" + html.unescape(area[1]), "case.yaml", policy)  # type: ignore[arg-type]
    assert isinstance(outcomes, list), outcomes
    assert [outcome.failure for outcome in outcomes] == [None]


# --- around them -------------------------------------------------------------------------------------------


def test_the_jump_box_finds_an_order_by_its_event_and_a_decision_by_its_number(dashboard: Dashboard) -> None:
    put_order(dashboard, "order-1", KIT, "received.testkit.requisition_created", user_id="user-1")
    put_order(dashboard, "order-2", user_id="user-1")
    put_decision(dashboard)
    browser = dashboard.sign_in()
    assert browser.get("/jump?q=order-1").headers["location"] == "/orders/order-1"
    assert browser.get("/jump?q=user-1").headers["location"] == "/orders?q=user-1"
    both = browser.get("/jump?q=1").text
    assert "/orders/order-1" in both
    assert "/decisions/1" in both


def test_an_order_that_changes_is_shown_anew_to_whoever_looks(
    dashboard: Dashboard, eventually: Eventually
) -> None:
    put_order(dashboard)
    browser = dashboard.sign_in()
    seen: list[str] = []
    with browser.stream("GET", "/stream?topics=order:order-1,orders,decisions") as stream:
        lines = stream.iter_lines()
        while not any("live:order:order-1" in line for line in seen):
            seen.append(next(lines))
        seen.clear()
        with writing(dashboard.store) as connection:
            controls.hold(connection, "order-1", actor="ana", reason="asked to", now=dashboard.clock())
        while not any("live:order:order-1" in line for line in seen):
            seen.append(next(lines))
    region = browser.get("/orders/order-1", headers={"hx-request": "true", "hx-target": "div#order"}).text
    assert "asked to" in region
    assert "<html" not in region


def test_what_a_new_policy_decides_otherwise_can_be_filtered(dashboard: Dashboard) -> None:
    for order_id, before, since in (("same", "keep", "keep"), ("other", "keep", "cancel")):
        put_decision(dashboard, order_id, verdict=before, generation=1)
        put_decision(dashboard, order_id, verdict=since, generation=2)
    put_decision(dashboard, "first", verdict="cancel", generation=2)
    put_decision(dashboard, "again", verdict="wait", generation=2)
    put_decision(dashboard, "again", verdict="keep", generation=2)
    page = text_of(dashboard.sign_in("viewer").get("/decisions?changed=1").text)
    assert "1 decision " in page
    assert "other verdict than under the policy before" in page
