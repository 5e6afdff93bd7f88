"""Rules: the policy in force, what each rule did and will do, the switches, and drafts."""

from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from receiver.dashboard import drafts
from tests.dashboard.conftest import PASSWORD
from workers.core.policy import Policy
from workers.policy_file import Loaded, parse_policy
from workers.policy_loading import accept
from workers.store import policies
from workers.store.database import writing

HEAD = """\
version: 1
policy: acme
environment: sandbox
time: {settle: 0s, zone: UTC}
limits: {per_hour: 4, per_day: 20, share_of_open: 100%, floor: 20}
rules:
"""
RULE = """\
  - name: NAME
    describe: kits that nobody registered
    mode: MODE
    priority: PRIORITY
    methods: [testkit]
    act_any_time: true
    when:
      - status: {in: [awaiting_registration], for: HOURSh}
    then: {action: cancel_order}
"""


def rule(
    name: str = "kits", mode: str = "enforce", hours: int = 72, priority: int = 0, more: str = ""
) -> str:
    text = RULE.replace("NAME", name).replace("MODE", mode).replace("PRIORITY", str(priority))
    return text.replace("HOURS", str(hours)) + more


def load(dashboard: Any, *rules: str, head: str = HEAD) -> str:
    """Puts a policy of these rules in force; returns its text."""
    text = head + "".join(rules)
    parsed = parse_policy(text, "rules.yaml")
    assert isinstance(parsed, Policy), parsed
    with writing(dashboard.store) as connection:
        loaded = Loaded(parsed, text, sha256(text.encode()).hexdigest())
        accept(connection, loaded, "/policy/rules.yaml", dashboard.clock())
    return text


def order(dashboard: Any, order_id: str, waiting_hours: float, **fields: Any) -> None:
    """A kit that has been waiting for its registration for so long."""
    at = dashboard.clock() - timedelta(hours=waiting_hours)
    usual = {
        "open": True,
        "facts": {
            "methods": ["testkit"],
            "team_id": "a-team",
            "zones": [],
            **dict.fromkeys(("created_at", "updated_at", "observed_at"), at.isoformat()),
        },
        "facts_version": 1,
        "changed_at": at,
        "method": "testkit",
    }
    dashboard.put("orders", id=order_id, **(usual | fields))
    status = "received.testkit.awaiting_registration"
    dashboard.put("order_events", order_id=order_id, event_id=1, at=at, status=status, seen_at=at)


def decision(dashboard: Any, state: str, ago: timedelta = timedelta(0), verdict: str = "cancel") -> None:
    at = dashboard.clock() - ago
    fields = {"order_id": "o", "space": "live", "rule": "kits", "trigger": "due", "facts_version": 1}
    dashboard.put("decisions", verdict=verdict, state=state, at=at, last_at=at, reason="", trace={}, **fields)


def switches(dashboard: Any) -> dict[str, str]:
    return {row["name"]: row["state"] for row in dashboard.rows("controls")}


def test_the_policy_in_force_is_shown_with_where_it_came_from(dashboard: Any) -> None:
    load(dashboard, rule())
    viewer = dashboard.sign_in("viewer")
    page = viewer.get("/rules").text
    for text in ("acme", "/policy/rules.yaml", "kits that nobody registered", "of UTC", "test kit"):
        assert text in page
    assert "status: {in: [awaiting_registration], for: 72h}" in viewer.get("/rules/text").text


def test_without_a_policy_it_says_how_one_is_loaded(dashboard: Any) -> None:
    viewer = dashboard.sign_in("viewer")
    page = viewer.get("/rules").text
    assert "No policy is in force" in page
    assert "python -m workers.clock" in page
    assert viewer.get("/rules/text").status_code == 404


def test_a_refused_file_is_told_with_its_lines_and_the_old_one_stays(dashboard: Any) -> None:
    load(dashboard, rule())
    with writing(dashboard.store) as connection:
        policies.note_refused(connection, "  rules.yaml:7:3: <b>unknown</b> key 'whne'", dashboard.clock())
    page = dashboard.sign_in("viewer").get("/rules").text
    assert "rules.yaml:7:3: &lt;b&gt;unknown&lt;/b&gt; key" in page
    assert "stays in force" in page
    assert "kits" in page


def test_a_policy_of_another_version_is_not_guessed_at(dashboard: Any) -> None:
    now = dashboard.clock()
    text = "version: 2\n"
    dashboard.put("policies", hash="b", source="rules.yaml", text=text, loaded_at=now, active=True)
    page = dashboard.sign_in("viewer").get("/rules").text
    assert "does not understand" in page


def test_the_rule_that_wins_stands_first(dashboard: Any) -> None:
    load(dashboard, rule("humble"), rule("proud", priority=9))
    page = dashboard.sign_in("viewer").get("/rules").text
    assert page.index('id="rule-proud"') < page.index('id="rule-humble"')


def test_a_rule_tells_what_it_did(dashboard: Any) -> None:
    load(dashboard, rule())
    for state, ago in (("confirmed", 1), ("confirmed", 30), ("failed", 50), ("refused", 2), ("open", 3)):
        decision(dashboard, state, timedelta(hours=ago))
    decision(dashboard, "confirmed", timedelta(days=8))
    decision(dashboard, "final", verdict="keep")
    page = dashboard.sign_in("viewer").get("/rules").text
    assert ">3 matched, 1 cancelled, 1 failed<" in page
    assert ">5 matched, 2 cancelled, 2 failed<" in page


def test_a_rule_tells_what_it_will_do_and_leads_there(
    dashboard: Any, links: Callable[[str], set[str]]
) -> None:
    load(dashboard, rule())
    for number in range(3):
        order(dashboard, f"o-{number}", 1, outlook="will_cancel", outlook_rule="kits")
    page = dashboard.sign_in("viewer").get("/rules").text
    assert "3 orders" in page
    assert "/orders?outcome=will_cancel&rule=kits" in links(page)


def test_limits_show_how_far_they_are_used_up(dashboard: Any) -> None:
    load(dashboard, rule(more="    limits: {per_hour: 2}\n"))
    for number in range(3):
        dashboard.put("reservations", at=dashboard.clock(), rule="other", order_id=f"o{number}", decision=1)
    dashboard.put("reservations", at=dashboard.clock(), rule="kits", order_id="o9", decision=1)
    page = dashboard.sign_in("viewer").get("/rules").text
    assert '</meter> 4<span class="of">/4</span>' in page
    assert '</meter> 1<span class="of">/2</span>' in page


def test_a_tripped_limit_says_why_and_can_be_reset(dashboard: Any) -> None:
    dashboard.add_user("operator")
    load(dashboard, rule(more="    limits: {per_hour: 2}\n"))
    for name in ("limits", "limits:kits"):
        dashboard.put(
            "controls", name=name, state="on", at=dashboard.clock(), actor="engine", reason=f"{name}: 9 due"
        )
    operator = dashboard.sign_in()
    page = operator.get("/rules").text
    assert "limits: 9 due" in page
    assert "limits:kits: 9 due" in page
    operator.post("/rules/limits/resume", data={"reason": "one import", "password": PASSWORD})
    assert switches(dashboard)["limits"] == "off"
    assert switches(dashboard)["limits:kits"] == "on"
    operator.post("/rules/rule/kits/resume", data={"reason": "one import"})
    assert switches(dashboard)["limits:kits"] == "off"


def test_a_rule_is_paused_and_resumed_and_the_audit_knows(dashboard: Any) -> None:
    load(dashboard, rule())
    operator = dashboard.sign_in()
    assert "Other rules go on" in operator.get("/rules/rule/kits/pause").text
    assert operator.post("/rules/rule/kits/pause", data={"reason": "ask the lab"}).status_code == 303
    assert switches(dashboard)["rule:kits"] == "on"
    assert "ask the lab" in operator.get("/rules").text
    operator.post("/rules/rule/kits/resume", data={"reason": "asked"})
    assert switches(dashboard)["rule:kits"] == "off"
    told = [(line["action"], line["target"], line["reason"]) for line in dashboard.rows("audit")]
    assert ("switch_on", "rule:kits", "ask the lab") in told
    assert ("switch_off", "rule:kits", "asked") in told


def test_everything_stops_only_when_the_word_is_typed(dashboard: Any) -> None:
    load(dashboard, rule())
    dashboard.add_user("operator")
    operator = dashboard.sign_in()
    for word in ("", "start", "stopp"):
        answer = operator.post("/rules/stop", data={"reason": "wrong rule", "word": word})
        assert answer.status_code == 400
    assert "stop" not in switches(dashboard)
    operator.post("/rules/stop", data={"reason": "wrong rule", "word": " Stop "})
    assert switches(dashboard)["stop"] == "on"
    page = operator.get("/rules").text
    assert "wrong rule" in page
    assert "Start again" in page
    again = {"reason": "rule fixed", "word": "start"}
    assert operator.post("/rules/start", data=again).status_code == 403
    assert switches(dashboard)["stop"] == "on"
    assert "Your password" in operator.get("/rules/start").text
    operator.post("/rules/start", data={**again, "password": PASSWORD})
    assert switches(dashboard)["stop"] == "off"


@pytest.mark.parametrize("path", ["stop", "start", "limits/resume", "rule/kits/pause", "rule/kits/resume"])
def test_switches_need_an_operator_and_a_reason(dashboard: Any, path: str) -> None:
    load(dashboard, rule())
    word = path if path in {"stop", "start"} else ""
    viewer, operator = dashboard.sign_in("viewer"), dashboard.sign_in()
    assert viewer.post(f"/rules/{path}", data={"reason": "curious", "word": word}).status_code == 403
    assert operator.post(f"/rules/{path}", data={"word": word}).status_code == 400
    assert switches(dashboard) == {}
    assert f'href="/rules/{path}"' not in viewer.get("/rules").text


def test_a_rule_that_is_not_there_has_no_switch(dashboard: Any) -> None:
    load(dashboard, rule())
    operator = dashboard.sign_in()
    assert operator.get("/rules/rule/bygone/pause").status_code == 404
    assert operator.post("/rules/rule/bygone/pause", data={"reason": "why"}).status_code == 404
    assert switches(dashboard) == {}


def test_looking_changes_nothing(dashboard: Any) -> None:
    load(dashboard, rule(more="    limits: {per_hour: 2}\n"))
    operator = dashboard.sign_in()
    tables = ("controls", "figures", "policies", "rules", "audit", "orders", "reservations")
    before = [dashboard.rows(table) for table in tables]
    for path in ("", "/text", "/draft", "/stop", "/start", "/rule/kits/pause", "/limits/resume"):
        assert operator.get(f"/rules{path}").status_code == 200
    assert [dashboard.rows(table) for table in tables] == before


# --- drafts ------------------------------------------------------------------------------------------------


def try_out(dashboard: Any, text: str) -> str:
    answer = dashboard.sign_in("viewer").post("/rules/draft", data={"text": text})
    assert answer.status_code == 200
    page: str = answer.text
    return page


def test_a_draft_begins_with_the_policy_in_force(dashboard: Any) -> None:
    load(dashboard, rule())
    assert "policy: acme" in dashboard.sign_in("viewer").get("/rules/draft").text


def test_a_draft_is_compared_with_the_policy_in_force(dashboard: Any) -> None:
    load(dashboard, rule(hours=1_000), rule("second", hours=100))
    order(dashboard, "o-soon", 10)  # both: second after 100 h, the draft's after 50 h
    draft = HEAD + rule(hours=50)
    page = try_out(dashboard, draft)
    assert '<strong class="gain">+0</strong>' in page
    assert '<strong class="loss">−0</strong>' in page
    assert "<strong>1</strong> at another time or by another rule" in page
    assert "Asked about 1 open order, which is all there are" in page


def test_a_draft_tells_who_would_be_cancelled_and_who_no_longer(dashboard: Any) -> None:
    load(dashboard, rule(hours=100))
    order(dashboard, "o-kept", 10)
    page = try_out(dashboard, HEAD + rule(hours=100, mode="shadow"))
    assert '<strong class="loss">−1</strong>' in page
    load(dashboard, rule(hours=100, mode="shadow"))
    page = try_out(dashboard, HEAD + rule(hours=100))
    assert '<strong class="gain">+1</strong>' in page
    assert 'href="/orders/o-kept"' in page


def test_a_draft_is_not_saved(dashboard: Any) -> None:
    load(dashboard, rule())
    order(dashboard, "o-1", 10)
    tables = ("controls", "policies", "rules", "orders", "decisions", "figures")
    before = [dashboard.rows(table) for table in tables]
    try_out(dashboard, HEAD + rule("other", hours=1))
    assert [dashboard.rows(table) for table in tables] == before


def test_mistakes_of_a_draft_are_shown_where_they_are(dashboard: Any) -> None:
    page = try_out(dashboard, HEAD + rule().replace("methods:", "method:"))
    assert "line 11, column 5" in page
    assert "<mark>method</mark>" in page
    assert "What it would change" not in page


def test_a_draft_without_any_policy_in_force_only_gains(dashboard: Any) -> None:
    order(dashboard, "o-1", 10)
    assert '<strong class="gain">+1</strong>' in try_out(dashboard, HEAD + rule())


def test_a_draft_looks_at_so_many_orders_and_says_so(dashboard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MOST_ORDERS", 2)
    load(dashboard, rule())
    for number in range(3):
        order(dashboard, f"o-{number}", 10)
    assert "Asked about 2 of 3 open orders" in try_out(dashboard, HEAD + rule("other"))


@pytest.mark.parametrize(
    "text", ["</textarea><script>alert(1)</script>", "rules: ['<script>alert(1)</script>']"]
)
def test_whatever_a_draft_holds_is_text(dashboard: Any, text: str) -> None:
    assert "<script>alert" not in try_out(dashboard, text)


def test_names_that_look_like_html_are_text(dashboard: Any) -> None:
    load(dashboard, rule().replace("kits that nobody registered", '"<script>alert(1)</script>"'))
    viewer = dashboard.sign_in("viewer")
    for path in ("/rules", "/rules/text", "/rules/draft"):
        assert "<script>alert" not in viewer.get(path).text


def test_both_databases_tell_the_same(open_dashboard: Any, database_url: str, redis_url: str) -> None:
    dashboard = open_dashboard(database_url, redis_url)
    load(dashboard, rule())
    order(dashboard, "o-1", 10, outlook="will_cancel", outlook_rule="kits")
    decision(dashboard, "confirmed")
    page = dashboard.sign_in("viewer").get("/rules").text
    assert ">1 matched, 1 cancelled, 0 failed<" in page
    assert "1 order<" in page
    assert '<strong class="gain">+1</strong>' not in try_out(dashboard, HEAD + rule(hours=80))
