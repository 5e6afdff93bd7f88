"""Closed until somebody has been added; then open to whoever signs in, as long as they stay and no longer."""

from __future__ import annotations

from re import sub
from typing import TYPE_CHECKING

import httpx
import pytest

from receiver.dashboard.auth import FAILURES_FROM_ONE_PLACE, local_path
from receiver.dashboard.pages import PAGES
from workers.store import users
from workers.store.database import writing

if TYPE_CHECKING:
    from tests.dashboard.conftest import Dashboard, OpenDashboard

PASSWORD = "correct horse battery"
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}
ADDRESSES = sorted(
    {sub(r"\{.*?\}", "1", address.path) for page in PAGES for address in page.addresses if address.get}
    | {"/", "/jump?q=x", "/problems/stop", "/nothing/here"}
)


def try_password(browser: httpx.Client, password: str, name: str = "operator") -> int:
    return browser.post("/login", data={"name": name, "password": password}, headers=SAME_ORIGIN).status_code


def test_without_any_user_every_address_is_closed(dashboard: Dashboard) -> None:
    visitor = dashboard.visitor()
    for address in [*ADDRESSES, "/login"]:
        assert visitor.get(address).status_code == 403, address
    assert visitor.get("/stream").status_code == 401


def test_without_any_user_the_command_that_adds_one_is_shown(dashboard: Dashboard) -> None:
    assert "autocancel user add NAME --role admin" in dashboard.visitor().get("/").text


def test_a_stranger_is_led_to_the_login_page_and_sees_nothing(dashboard: Dashboard) -> None:
    dashboard.sign_in()
    stranger = dashboard.visitor()
    for address in ADDRESSES:
        answer = stranger.get(address)
        assert (answer.status_code, answer.content) == (303, b""), address
        assert answer.headers["location"].startswith("/login?next=/")


def test_a_stranger_may_not_post_watch_or_ask_for_a_region(dashboard: Dashboard) -> None:
    dashboard.sign_in()
    stranger = dashboard.visitor(**SAME_ORIGIN)
    assert stranger.post("/queues/events/pause", data={"reason": "x"}).status_code == 401
    assert stranger.get("/stream?topics=queues").status_code == 401
    region = stranger.get("/queues", headers={"hx-request": "true", "hx-target": "section#queue_table"})
    assert (region.status_code, region.headers["hx-redirect"]) == (401, "/login")
    assert dashboard.rows("controls") == []


def test_whoever_signs_in_goes_where_they_wanted(dashboard: Dashboard) -> None:
    dashboard.add_user("operator")
    browser = dashboard.visitor(**SAME_ORIGIN)
    answer = browser.post(
        "/login", data={"name": "Operator ", "password": PASSWORD, "next": "/queues/events?tab=dead"}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/queues/events?tab=dead")
    assert browser.get("/queues").status_code == 200


def test_the_cookie_is_for_this_server_alone(dashboard: Dashboard) -> None:
    dashboard.add_user("operator")
    browser = dashboard.visitor(**SAME_ORIGIN)
    cookie = browser.post("/login", data={"name": "operator", "password": PASSWORD}).headers["set-cookie"]
    assert cookie.startswith("autocancel=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    stored = {row["id"] for row in dashboard.rows("sessions")}
    assert all(name not in cookie for name in stored)


def test_behind_https_the_cookie_is_bound_to_the_host(
    open_dashboard: OpenDashboard, sqlite_url: str, redis_url: str
) -> None:
    dashboard = open_dashboard(sqlite_url, redis_url, dashboard_origin="https://ops.example.com")
    with writing(dashboard.store) as connection:
        users.add(connection, "ana", PASSWORD, "viewer", dashboard.clock())
    answer = dashboard.visitor(**SAME_ORIGIN).post("/login", data={"name": "ana", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-autocancel=")
    assert {"Secure", "HttpOnly", "Path=/"} <= set(cookie.split("; "))
    assert "strict-transport-security" in answer.headers


def test_every_sign_in_gets_a_new_session_and_ends_the_old_one(dashboard: Dashboard) -> None:
    dashboard.add_user("operator")
    browser = dashboard.sign_in()
    before = dashboard.rows("sessions")
    assert try_password(browser, PASSWORD) == 303
    (after,) = dashboard.rows("sessions")
    assert after["id"] != before[0]["id"]


def test_signing_out_ends_the_session_everywhere(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    stolen = dashboard.visitor(cookie=f"autocancel={browser.cookies['autocancel']}")
    assert stolen.get("/queues").status_code == 200
    browser.post("/logout")
    assert stolen.get("/queues").status_code == 303


def test_an_idle_session_runs_out_after_half_an_hour(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    dashboard.clock.advance(minutes=29)
    assert browser.get("/queues").status_code == 200
    dashboard.clock.advance(minutes=29)
    assert browser.get("/queues").status_code == 200
    dashboard.clock.advance(minutes=31)
    assert browser.get("/queues").status_code == 303


def test_a_page_that_refreshes_itself_does_not_count_as_somebody_there(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    for _ in range(2):
        dashboard.clock.advance(minutes=20)
        answer = browser.get("/queues", headers={"hx-request": "true", "hx-target": "section#queue_table"})
    assert answer.status_code == 401


def test_no_session_lasts_longer_than_twelve_hours(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    for _ in range(12 * 60 // 25):
        assert browser.get("/queues").status_code == 200
        dashboard.clock.advance(minutes=25)
    dashboard.clock.advance(minutes=25)
    assert browser.get("/queues").status_code == 303


def test_a_disabled_user_is_out_at_once(dashboard: Dashboard) -> None:
    dashboard.add_user("operator")
    browser = dashboard.sign_in()
    dashboard.sign_in("admin")  # somebody is left, so the door is not closed for all
    with writing(dashboard.store) as connection:
        users.disable(connection, "operator", dashboard.clock())
    assert browser.get("/queues").status_code == 303
    assert try_password(browser, PASSWORD) == 401


def test_wrong_names_and_wrong_passwords_get_the_same_answer(dashboard: Dashboard) -> None:
    dashboard.add_user("operator")
    browser = dashboard.visitor(**SAME_ORIGIN)
    unknown = browser.post("/login", data={"name": "nobody", "password": "wrong"})
    known = browser.post("/login", data={"name": "operator", "password": "wrong"})
    assert unknown.status_code == known.status_code == 401
    assert "do not open this" in known.text
    assert unknown.text.replace("nobody", "operator") == known.text


def test_after_five_wrong_passwords_a_name_has_to_wait(dashboard: Dashboard) -> None:
    dashboard.add_user("operator")
    browser = dashboard.visitor(**SAME_ORIGIN)
    for _ in range(users.FREE_TRIES):
        assert try_password(browser, "wrong") == 401
    assert try_password(browser, PASSWORD) == 401
    dashboard.clock.advance(seconds=users.FIRST_WAIT.total_seconds())
    assert try_password(browser, PASSWORD) == 303


def test_guessing_from_one_place_is_stopped_whatever_the_names(dashboard: Dashboard) -> None:
    dashboard.add_user("operator")
    browser = dashboard.visitor(**SAME_ORIGIN)
    for number in range(FAILURES_FROM_ONE_PLACE):
        assert try_password(browser, "wrong", f"guess{number}") == 401
    assert try_password(browser, PASSWORD) == 429
    dashboard.clock.advance(minutes=10)
    assert try_password(browser, PASSWORD) == 303


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", ""],
)
def test_signing_in_never_leads_elsewhere(elsewhere: str) -> None:
    assert local_path(elsewhere) == "/"
