"""What holds for every page: it is linked, it is closed to strangers, and looking at it is harmless."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from receiver.dashboard.pages import PAGES
from tests.dashboard.conftest import SAME_ORIGIN, Dashboard
from tests.dashboard.crawling import TEMPLATES, crawl, template_of
from tests.dashboard.filled import filled_dashboard
from workers.store.schema import metadata

# Asked for only while everything is stopped or a limit has tripped.
SELDOM = {"/rules/start", "/rules/limits/resume"}
# Downloads: GETs that leave a line in the audit.
TAKEN_ALONG = {"export"}


@pytest.fixture(scope="module", name="filled")
def fill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    with filled_dashboard(tmp_path_factory.mktemp("filled")) as dashboard:
        yield dashboard


@pytest.fixture(scope="module", name="admin")
def sign_in(filled: Dashboard) -> httpx.Client:
    return filled.sign_in("admin")


@pytest.fixture(scope="module", name="previews")
def choose(filled: Dashboard, admin: httpx.Client) -> list[str]:
    """The addresses of what would be done to a failure, an order, a delivery; no link leads there."""
    chosen = {
        "/dead-letters/previews": {"action": "replay", "id": filled.rows("failures")[0]["id"]},
        "/orders/previews": {"action": "cancel", "id": filled.rows("orders")[0]["id"]},
        "/events/previews": {"id": filled.rows("deliveries")[0]["id"]},
    }
    return [admin.post(path, data=data).headers["location"] for path, data in chosen.items()]


@pytest.fixture(scope="module", name="before")
def remember(filled: Dashboard, previews: list[str]) -> dict[str, Any]:
    return everything(filled)


@pytest.fixture(scope="module", name="answers")
def look_at_everything(admin: httpx.Client, previews: list[str], before: object) -> dict[str, httpx.Response]:
    return crawl(admin, "/", *previews)


def test_no_link_is_broken(answers: dict[str, httpx.Response]) -> None:
    assert {address for address, answer in answers.items() if answer.status_code >= 400} == set()


def test_links_lead_to_every_page(answers: dict[str, httpx.Response]) -> None:
    assert set(TEMPLATES) - {template_of(address) for address in answers} == SELDOM


def test_a_stranger_is_turned_away_everywhere(filled: Dashboard, answers: dict[str, httpx.Response]) -> None:
    stranger = filled.visitor(**SAME_ORIGIN)
    for address in [*answers, "/rules/start", "/nothing", "/stream"]:
        answer = stranger.get(address)
        assert answer.status_code in {303, 401}, address
        assert answer.headers.get("location", "/login").startswith("/login"), address
        assert answer.text in {"", "Sign in first.\n"}, address


def test_looking_changes_nothing_and_what_was_taken_along_is_on_record(
    filled: Dashboard, answers: dict[str, httpx.Response], before: dict[str, Any]
) -> None:
    after = everything(filled)
    lines, known = after.pop("audit"), before.pop("audit")
    assert after == before
    assert {line["action"] for line in lines[len(known) :]} == TAKEN_ALONG


def test_a_stranger_can_do_nothing(filled: Dashboard, answers: dict[str, httpx.Response]) -> None:
    stranger = filled.visitor(**SAME_ORIGIN)
    posts = {address.path for page in PAGES for address in page.addresses if address.post}
    before = everything(filled)
    for address in answers:
        if template_of(address) in posts:
            answer = stranger.post(address, data={"reason": "because", "action": "replay"})
            assert answer.status_code == 401, address
    assert everything(filled) == before


def everything(filled: Dashboard) -> dict[str, Any]:
    """All that store and queues hold; only a session may note when it was used last."""
    client: Any = filled.broker.client
    tables = {name: filled.rows(name) for name in metadata.tables if name != "sessions"}
    return tables | {key: client.dump(key) for key in client.scan_iter()}
