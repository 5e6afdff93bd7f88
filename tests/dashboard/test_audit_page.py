"""Audit: who did what; filters, pages, files. Nothing can be changed."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from receiver.dashboard.exports import harmless

HOSTILE = "<script>alert(1)</script>"

Note = Callable[..., None]


@pytest.fixture
def note(dashboard: Any) -> Note:
    return noter(dashboard)


def noter(dashboard: Any) -> Note:
    """Puts a line into the audit."""

    def note(ago: timedelta = timedelta(0), **fields: Any) -> None:
        usual = {
            "actor": "ana",
            "role": "operator",
            "action": "hold",
            "target": "order-1",
            "reason": "asked to",
        }
        dashboard.put("audit", at=dashboard.clock() - ago, **(usual | fields))

    return note


def test_a_line_says_who_did_what_when_and_why(dashboard: Any, note: Note) -> None:
    note(action="switch_on", target="rule:kits", before={"state": "off"}, ip_prefix="10.1.2.0/24")
    page = dashboard.sign_in("viewer").get("/audit").text
    for text in ("ana", "switch on", '<a href="/rules">rule:kits</a>', "asked to", "10.1.2.0/24", "off"):
        assert text in page


def test_lines_are_found_by_person_action_target_and_day(dashboard: Any, note: Note) -> None:
    note(reason="the-wanted-one", actor="ben", action="decline", target="decision:7")
    note(reason="another-one", ago=timedelta(days=3))
    viewer = dashboard.sign_in("viewer")
    yesterday = (dashboard.clock() - timedelta(days=1)).date().isoformat()
    for query in ("actor=ben", "action=decline", "target=decision:7", f"from={yesterday}"):
        page = viewer.get(f"/audit?{query}").text
        assert "the-wanted-one" in page
        assert "another-one" not in page
    assert "another-one" in viewer.get(f"/audit?to={yesterday}").text
    assert "No line fits" in viewer.get("/audit?actor=nobody").text
    assert viewer.get("/audit?action=eat").status_code == 400


def test_pages_follow_each_other_without_a_gap(dashboard: Any, note: Note) -> None:
    for number in range(1, 121):
        note(reason=f"line-{number:03}", actor="ben")
    viewer = dashboard.sign_in("viewer")
    seen: list[str] = []
    for before in ("", "&before=71", "&before=21"):
        page = viewer.get(f"/audit?actor=ben{before}").text
        seen += [name for name in (f"line-{number:03}" for number in range(120, 0, -1)) if name in page]
    assert seen == [f"line-{number:03}" for number in range(120, 0, -1)]


def test_whatever_a_line_holds_is_text(dashboard: Any, note: Note) -> None:
    note(
        actor=HOSTILE,
        action=HOSTILE,
        target=f"order:{HOSTILE}",
        reason=HOSTILE,
        before={"a": HOSTILE},
        after={HOSTILE: 1},
        ip_prefix=HOSTILE,
        request_id=HOSTILE,
    )
    page = dashboard.sign_in("viewer").get("/audit").text
    assert "<script>alert" not in page
    assert page.count("&lt;script&gt;alert(1)") > 5


def test_a_file_holds_all_lines_that_fit_and_taking_it_is_a_line_itself(dashboard: Any, note: Note) -> None:
    for number in range(1_200):
        note(actor="ben", reason=f"line {number}")
    note(actor="cleo")
    viewer = dashboard.sign_in("viewer")
    answer = viewer.post("/audit/export.csv?actor=ben")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == 1_200
    assert rows[0]["reason"] == "line 1199"
    assert "attachment" in answer.headers["content-disposition"]
    taken = dashboard.rows("audit")[-1]
    assert (taken["action"], taken["target"], taken["actor"]) == ("export", "audit.csv", "viewer")
    assert taken["after"] == {"query": "actor=ben"}
    told = viewer.post("/audit/export.json?actor=cleo").json()
    assert [line["actor"] for line in told] == ["cleo"]
    assert viewer.post("/audit/export.json?actor=nobody").json() == []


def test_a_spreadsheet_finds_no_formula(dashboard: Any, note: Note) -> None:
    note(reason='=HYPERLINK("http://evil")', target="@SUM(A1)", actor="+1")
    text = dashboard.sign_in("viewer").post("/audit/export.csv").text
    (row,) = (row for row in csv.DictReader(io.StringIO(text)) if row["action"] == "hold")
    assert (row["reason"], row["target"], row["actor"]) == ('\'=HYPERLINK("http://evil")', "'@SUM(A1)", "'+1")
    assert harmless(-5) == -5


def test_no_file_is_made_of_a_wrong_filter_or_of_another_kind(dashboard: Any, note: Note) -> None:
    note()
    viewer = dashboard.sign_in("viewer")
    assert viewer.post("/audit/export.csv?action=eat").status_code == 400
    assert viewer.post("/audit/export.exe").status_code == 404
    assert viewer.get("/audit/export.csv").status_code == 404


def test_looking_changes_nothing_and_nothing_can_be_changed(dashboard: Any, note: Note) -> None:
    note()
    viewer = dashboard.sign_in("admin")
    before = dashboard.rows("audit")
    assert viewer.get("/audit").status_code == 200
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert viewer.request(method, "/audit").status_code == 405
    assert dashboard.rows("audit") == before


def test_both_databases_tell_the_same(open_dashboard: Any, database_url: str, redis_url: str) -> None:
    dashboard = open_dashboard(database_url, redis_url)
    noter(dashboard)(before={"state": "off"}, after={"state": "on"})
    viewer = dashboard.sign_in("viewer")
    assert "state" in viewer.get("/audit?actor=ana&action=hold").text
    assert viewer.post("/audit/export.json?actor=ana").json()[0]["after"] == {"state": "on"}
