"""What holds for every answer: strict headers, posts from our own pages, text stays text, bounded input."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from receiver.dashboard.pages import PAGES
from receiver.dashboard.security import BODY_LIMIT, CONTENT_SECURITY_POLICY, may_change_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.dashboard.conftest import Dashboard

ORIGIN = "https://ops.example.com"
NASTY = "<script>alert('1')</script>\"><img src=x onerror=alert(2)>"
LOOKS = ["/queues", "/queues/events", "/queues/events?tab=dead", "/queues/events/pause", "/dead-letters"]


@pytest.mark.parametrize(
    ("method", "site"), list(product(["POST", "PUT", "PATCH", "DELETE"], [None, ORIGIN]))
)
def test_only_our_own_pages_may_post(method: str, site: str | None) -> None:
    origin = {"origin": site} if site else {}
    for said, allowed in [
        ("same-origin", True),
        ("same-site", False),
        ("cross-site", False),
        ("none", False),
    ]:
        assert may_change_state(method, {"sec-fetch-site": said, **origin}, ORIGIN) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(ORIGIN, True), ("HTTPS://OPS.example.com", True), ("https://evil.example", False), ("null", False)],
)
def test_without_fetch_metadata_the_origin_decides(origin: str, allowed: bool) -> None:
    assert may_change_state("POST", {"origin": origin}, ORIGIN) is allowed


def test_who_says_nothing_of_where_they_come_from_may_only_look() -> None:
    assert not may_change_state("POST", {}, ORIGIN)
    assert may_change_state("GET", {"sec-fetch-site": "cross-site"}, ORIGIN)


def test_a_foreign_post_does_nothing_even_with_the_cookie(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    for address in ["/queues/events/pause", "/logout", "/login", "/theme"]:
        answer = browser.post(address, data={"reason": "x"}, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403
    assert browser.get("/queues").status_code == 200
    assert dashboard.rows("controls") == []


def test_every_answer_carries_the_strict_headers(
    dashboard: Dashboard, links: Callable[[str], set[str]]
) -> None:
    browser, stranger = dashboard.sign_in(), dashboard.visitor()
    answers = [browser.get(address) for address in [*crawl(dashboard, links), "/nothing", "/dead-letters/99"]]
    answers += [stranger.get("/queues"), stranger.get("/login"), stranger.post("/login")]
    for answer in answers:
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert len(answer.headers["x-request-id"]) == 16


def test_no_page_has_inline_styles_or_scripts(dashboard: Dashboard, links: Callable[[str], set[str]]) -> None:
    browser = dashboard.sign_in("admin")
    for address in crawl(dashboard, links):
        page = browser.get(address).text
        assert " style=" not in page
        assert "<style" not in page
        assert "<script>" not in page
        assert " hx-on" not in page


def test_whatever_stands_in_the_store_is_shown_as_text(
    dashboard: Dashboard, links: Callable[[str], set[str]]
) -> None:
    put_everything(dashboard, NASTY)
    browser = dashboard.sign_in()
    shown = "".join(browser.get(address).text for address in crawl(dashboard, links))
    assert "<img" not in shown.replace('<img src="/static', "")
    assert "<script>" not in shown
    assert shown.count("&lt;script&gt;") > 10


def test_what_a_visitor_sends_is_shown_as_text(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    signed_in = f"autocancel={browser.cookies['autocancel']}"
    answers = [
        browser.get("/jump", params={"q": NASTY}),
        browser.get(f"/queues/{NASTY}"),
        browser.get("/queues/events", params={"tab": NASTY, "from": NASTY}),
        browser.get("/dead-letters", params={"state": NASTY}),
        browser.get(
            "/queues", headers={"cookie": f"{signed_in}; notice=%3Cscript%3Ealert(1); theme={NASTY}"}
        ),
        browser.post("/login", data={"name": NASTY, "password": NASTY, "next": NASTY}),
    ]
    for answer in answers:
        assert answer.status_code < 500
        assert "<script>" not in answer.text
        assert "<img src=x" not in answer.text


def test_a_body_that_is_too_large_is_refused(dashboard: Dashboard) -> None:
    browser = dashboard.sign_in()
    assert browser.post("/queues/events/pause", content=b"x" * (BODY_LIMIT + 1)).status_code == 413


def test_a_body_that_grows_too_large_is_cut_off(dashboard: Dashboard) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    grows = (b"x" * 100_000 for _ in range(20))
    assert dashboard.sign_in().post("/queues/events/pause", content=grows, headers=form).status_code == 413


@pytest.mark.parametrize(
    "address",
    [
        "/dead-letters/99999999999999999999999",
        "/dead-letters/cause?cause=x&before=99999999999999999999999",
        "/dead-letters/previews/x",
        "/queues/events?tab=ready&from=99999999999999999999999",
        "/queues/events/messages/%00",
        "/jump?q=%00",
        "/jump?q=" + "x" * 10_000,
        "/problems/%2f",
        "/stream?topics=" + ",".join(map(str, range(100))),
    ],
)
def test_odd_addresses_are_answered_without_a_fault_of_ours(dashboard: Dashboard, address: str) -> None:
    browser = dashboard.sign_in()
    with browser.stream("GET", address) as answer:
        assert answer.status_code < 500


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=x", "application/json", "?"])
def test_odd_bodies_are_answered_without_a_fault_of_ours(dashboard: Dashboard, content_type: str) -> None:
    browser = dashboard.sign_in()
    for address in ["/dead-letters/previews", "/login"]:
        answer = browser.post(address, content=b"\x00\xff--x", headers={"content-type": content_type})
        assert 400 <= answer.status_code < 500


def test_static_files_are_kept_for_ever_and_named_by_their_content(dashboard: Dashboard) -> None:
    visitor = dashboard.visitor()
    page = dashboard.sign_in().get("/queues").text
    address = next(
        part for part in page.split('"') if part.startswith("/static/app.") and part.endswith(".css")
    )
    assert "immutable" in visitor.get(address).headers["cache-control"]
    assert visitor.get("/static/app.css").status_code == 404
    assert visitor.get("/static/app.py").status_code == 404


def crawl(dashboard: Dashboard, links: Callable[[str], set[str]]) -> set[str]:
    """Every address that our pages of these menus lead to, three links deep."""
    browser = dashboard.sign_in("admin")
    known: set[str] = set()
    new = {page.path for page in PAGES if page.path in {"/queues", "/dead-letters"}} | {"/jump", *LOOKS}
    for _ in range(3):
        known |= new
        new = {
            link
            for address in new
            for link in links(browser.get(address).text)
            if link.startswith(("/queues", "/dead-letters", "/problems"))
        } - known
    return known


def put_everything(dashboard: Dashboard, text: str) -> None:
    """One row of each kind that these pages show, with the text wherever a text can stand."""
    now = dashboard.clock()
    dashboard.put(
        "processes", id="p1", kind="worker", host=text, pid=1, version=text, queues=f"events,{text}",
        threads=1, started_at=now, seen_at=now, paused=text,
        running=[{"message_id": text, "actor": text, "queue": "events", "since": now.isoformat()}],
    )  # fmt: skip
    dashboard.put("controls", name="queue:events", state="on", at=now, actor=text, reason=text)
    dashboard.put("controls", name="stop", state="on", at=now, actor=text, reason=text)
    dashboard.put("controls", name=f"rule:{text}", state="on", at=now, actor=text, reason=text)
    for state in ("open", "replayed"):
        dashboard.put(
            "failures", queue="events", actor=text, fingerprint=text, error=text, place=text, version=text,
            args={text: [text]}, order_id=text[:64], attempts=3, at=now, state=state, resolved_at=now,
            resolved_by=text, reason=text,
        )  # fmt: skip
