"""Who may do what: a viewer looks, an operator acts."""

from __future__ import annotations

from re import sub
from typing import TYPE_CHECKING

from receiver.dashboard.pages import PAGES
from workers.store import users

if TYPE_CHECKING:
    from tests.dashboard.conftest import Dashboard

ACTS = [address for page in PAGES for address in page.addresses if address.post and address.role != "viewer"]

# What a viewer may post: it changes nothing but the audit.
FOR_VIEWERS = {"/audit/export.{kind}", "/rules/draft"}


def test_each_role_may_what_those_before_it_may() -> None:
    assert [users.may("operator", needed) for needed in users.ROLES] == [True, True, False]


def test_what_a_viewer_may_post_is_listed() -> None:
    posts = {address.path for page in PAGES for address in page.addresses if address.post}
    assert posts - {address.path for address in ACTS} <= FOR_VIEWERS


def test_a_viewer_changes_nothing(dashboard: Dashboard) -> None:
    viewer = dashboard.sign_in("viewer")
    for path in [sub(r"\{.*?\}", "1", address.path) for address in ACTS]:
        answer = viewer.post(path, data={"reason": "because", "action": "replay", "id": "1"})
        assert answer.status_code == 403, path
        assert "takes the role" in answer.text
    assert dashboard.rows("audit") == []


def test_a_viewer_is_not_shown_what_they_may_not_do(dashboard: Dashboard) -> None:
    assert "/queues/events/pause" not in dashboard.sign_in("viewer").get("/queues").text
    assert "/queues/events/pause" in dashboard.sign_in("operator").get("/queues").text


def test_a_viewer_may_choose_a_theme(dashboard: Dashboard) -> None:
    viewer = dashboard.sign_in("viewer")
    assert viewer.post("/theme", data={"theme": "dark", "back": "/queues"}).headers["location"] == "/queues"
    assert 'data-theme="dark"' in viewer.get("/queues").text
