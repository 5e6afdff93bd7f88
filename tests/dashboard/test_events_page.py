"""Events: deliveries, what became of them, requests turned away, sources; replaying what was set aside."""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from sqlalchemy import func, select

from receiver.dashboard.events_page import ROWS
from workers.queues import QueueReader
from workers.store import delivery_reads
from workers.store.database import reading
from workers.store.schema import deliveries, metadata

HOSTILE = "<script>alert(1)</script>\"'"
ORDER = "11111111-2222-4333-8444-555555555555"

Deliver = Callable[..., int]


@pytest.fixture
def deliver(dashboard: Any) -> Deliver:
    return deliverer(dashboard)


def deliverer(dashboard: Any) -> Deliver:
    """Puts a delivery into the store and returns its number."""
    numbers = count(1)

    def deliver(ago: timedelta = timedelta(minutes=5), **fields: Any) -> int:
        number, received_at = next(numbers), dashboard.clock() - ago
        usual = {
            "delivery_id": f"msg_{number:04}",
            "received_at": received_at,
            "signed_at": received_at - timedelta(seconds=1),
            "secret_label": "primary",
            "event_type": "labtest.order.updated",
            "order_id": ORDER,
            "body": {"order": {"id": ORDER}},
            "size": 1234,
            "sha256": "0" * 64,
            "state": "done",
            "result": "projected",
            "finished_at": received_at + timedelta(milliseconds=420),
        }
        dashboard.put("deliveries", id=number, **(usual | fields))
        return number

    return deliver


def test_a_delivery_is_listed_with_what_became_of_it(
    dashboard: Any, deliver: Deliver, links: Callable[[str], set[str]]
) -> None:
    number = deliver(duplicates=3, last_duplicate_at=dashboard.clock())
    page = dashboard.sign_in("viewer").get("/events").text
    for text in ("labtest.order.updated", "Projected", "primary", "duplicate ×3", "420 ms", "msg_0001"):
        assert text in page
    assert {f"/events/{number}", f"/orders/{ORDER}"} <= links(page)


@pytest.mark.parametrize(
    ("state", "result", "word"),
    [
        ("new", None, "Waiting"),
        ("done", "projected", "Projected"),
        ("done", "no_change", "No change"),
        ("done", "out_of_order", "Out of order"),
        ("ignored", "unknown_type", "Ignored"),
        ("quarantined", None, "Set aside"),
        ("unreadable", None, "Unreadable"),
        ("foreign", None, "Foreign"),
    ],
)
def test_every_result_has_its_word_and_its_filter(
    dashboard: Any, deliver: Deliver, state: str, result: str | None, word: str
) -> None:
    deliver(state=state, result=result, delivery_id="msg_wanted")
    other = "foreign" if state != "foreign" else "unreadable"
    deliver(state=other, result=None, delivery_id="msg_another")
    viewer = dashboard.sign_in("viewer")
    what = {"new": "waiting", "done": result}.get(state, state)
    page = viewer.get("/events", params={"state": what}).text
    assert "msg_wanted" in page
    assert f"</svg>{word}</span>" in page
    assert "msg_another" not in page


def test_a_result_of_another_version_is_shown_as_it_is(dashboard: Any, deliver: Deliver) -> None:
    deliver(result="merged_twice")
    assert "merged_twice" in dashboard.sign_in("viewer").get("/events").text


def test_a_star_stands_for_anything_and_nothing_else_does(dashboard: Any, deliver: Deliver) -> None:
    deliver(event_type="labtest.order.created", delivery_id="msg_created")
    deliver(event_type="labtest.appointment.updated", delivery_id="msg_booked")
    viewer = dashboard.sign_in("viewer")
    page = viewer.get("/events", params={"type": "labtest.order.*"}).text
    assert "msg_created" in page
    assert "msg_booked" not in page
    for typed in ("labtest.%", "labtest_order_created"):
        assert "No delivery fits" in viewer.get("/events", params={"type": typed}).text


def test_filters_stand_in_the_address_and_can_be_taken_off(
    dashboard: Any, deliver: Deliver, links: Callable[[str], set[str]]
) -> None:
    deliver()
    page = dashboard.sign_in("viewer").get("/events?state=projected&order=" + ORDER).text
    assert {f"/events?order={ORDER}", "/events?state=projected", "/events"} <= links(page)


def test_a_wrong_filter_lists_nothing(dashboard: Any, deliver: Deliver) -> None:
    deliver()
    answer = dashboard.sign_in("viewer").get("/events?state=eaten")
    assert answer.status_code == 400
    assert "no such value" in answer.text
    assert "msg_0001" not in answer.text


def test_times_bound_the_list(dashboard: Any, deliver: Deliver) -> None:
    deliver(timedelta(days=3), delivery_id="msg_old")
    deliver(timedelta(0), delivery_id="msg_young")
    viewer = dashboard.sign_in("viewer")
    yesterday = (dashboard.clock() - timedelta(days=1)).date().isoformat()
    assert "msg_old" not in viewer.get(f"/events?from={yesterday}").text
    assert "msg_young" not in viewer.get(f"/events?to={yesterday}").text
    assert "msg_old" in viewer.get(f"/events?to={yesterday}&type=*").text


def test_pages_follow_each_other_without_a_gap(dashboard: Any, deliver: Deliver) -> None:
    for _ in range(120):
        deliver()
    viewer = dashboard.sign_in("viewer")
    seen: list[str] = []
    for before in ("", *(f"?before={number}" for number in range(121 - ROWS, 0, -ROWS))):
        page = viewer.get(f"/events{before}").text
        seen += [f"msg_{number:04}" for number in range(120, 0, -1) if f'title="msg_{number:04}"' in page]
    assert seen == [f"msg_{number:04}" for number in range(120, 0, -1)]


def test_a_search_without_an_index_goes_no_further_than_it_says(
    dashboard: Any, deliver: Deliver, monkeypatch: pytest.MonkeyPatch, links: Callable[[str], set[str]]
) -> None:
    deliver(event_type="labtest.rare", delivery_id="msg_rare")
    for _ in range(30):
        deliver()
    monkeypatch.setattr(delivery_reads, "SCANNED", 10)
    viewer = dashboard.sign_in("viewer")
    page = viewer.get("/events?type=labtest.rare").text
    assert "None of the last 10 deliveries" in page
    places = []
    while "msg_rare" not in page:
        (further,) = (link for link in links(page) if "before=" in link)
        places.append(further)
        page = viewer.get(further).text
    assert len(places) == 3


def test_rows_stay_in_their_place_while_new_ones_are_only_counted(dashboard: Any, deliver: Deliver) -> None:
    deliver(state="new", result=None, finished_at=None)
    viewer = dashboard.sign_in("viewer")
    assert 'hx-get="/events?before=2&amp;since=1"' in viewer.get("/events").text
    deliver()
    asking = {"hx-request": "true", "hx-target": "div#news"}
    assert "1 new: show" in viewer.get("/events?before=2&since=1", headers=asking).text
    asking["hx-target"] = "section#delivery_table"
    again = viewer.get("/events?before=2&since=1", headers=asking).text
    assert "msg_0001" in again
    assert "msg_0002" not in again


def test_a_new_installation_is_told_how_to_send_an_event(dashboard: Any) -> None:
    page = dashboard.sign_in("viewer").get("/events").text
    assert "Nothing has been delivered yet" in page
    assert "autocancel send examples/kit-ordered.json" in page


def test_whatever_a_delivery_holds_is_text(dashboard: Any, deliver: Deliver) -> None:
    number = deliver(
        delivery_id=HOSTILE,
        event_type=HOSTILE,
        order_id=HOSTILE,
        secret_label=HOSTILE,
        team_id=HOSTILE,
        result=HOSTILE,
        error=HOSTILE,
        body={HOSTILE: HOSTILE},
    )
    viewer = dashboard.sign_in("viewer")
    for path in ("/events", f"/events/{number}", "/events/sources"):
        page = viewer.get(path).text
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_a_delivery_shows_what_it_brought_and_gives_it_as_a_file(dashboard: Any, deliver: Deliver) -> None:
    number = deliver()
    dashboard.put(
        "order_events",
        order_id=ORDER,
        event_id=77,
        at=dashboard.clock(),
        status="received.testkit.ordered",
        delivery=number,
        seen_at=dashboard.clock(),
    )
    viewer = dashboard.sign_in("viewer")
    page = viewer.get(f"/events/{number}").text
    assert f'<a href="/orders/{ORDER}#ev-77">received.testkit.ordered</a>' in page
    assert "1,234 bytes" in page
    file = viewer.get(f"/events/{number}/body")
    assert file.json() == {"order": {"id": ORDER}}
    assert file.headers["content-disposition"] == f'attachment; filename="delivery-{number}.json"'


def test_what_is_not_kept_is_said_to_be_gone(dashboard: Any, deliver: Deliver) -> None:
    number = deliver(state="foreign", result=None, body=None, order_id=None)
    viewer = dashboard.sign_in("viewer")
    assert "about another team" in viewer.get(f"/events/{number}").text
    assert viewer.get(f"/events/{number}/body").status_code == 404
    assert viewer.get("/events/999999999999999999999999").status_code == 404


def test_what_was_set_aside_goes_through_the_pipeline_again(dashboard: Any, deliver: Deliver) -> None:
    number = deliver(state="quarantined", result=None, error="KeyError at order.py:read", attempts=3)
    operator = dashboard.sign_in()
    assert "KeyError at order.py:read" in operator.get(f"/events/{number}/replay").text
    answer = operator.post(f"/events/{number}/replay", data={"reason": "reader fixed"})
    assert answer.headers["location"] == f"/events/{number}"
    (row,) = dashboard.rows("deliveries")
    assert (row["state"], row["attempts"], row["error"]) == ("new", 0, None)
    (line,) = (line for line in dashboard.rows("audit") if line["action"] == "replay")
    assert (line["target"], line["reason"], line["actor"]) == (
        f"delivery:{number}",
        "reader fixed",
        "operator",
    )
    (message,) = QueueReader(dashboard.broker.client).messages("events", "ready")
    assert message.args == {"ids": [number]}
    assert "on its way" in operator.get(f"/events/{number}").text


def test_a_replay_while_redis_is_away_is_left_to_the_clock(open_dashboard: Any, sqlite_url: str) -> None:
    dashboard = open_dashboard(sqlite_url, "redis://127.0.0.1:1")
    number = deliverer(dashboard)(state="quarantined", result=None)
    operator = dashboard.sign_in()
    operator.post(f"/events/{number}/replay", data={"reason": "reader fixed"})
    assert dashboard.rows("deliveries")[0]["state"] == "new"
    assert "the clock will find it" in operator.get(f"/events/{number}").text


def test_a_replay_done_twice_is_refused_the_second_time(dashboard: Any, deliver: Deliver) -> None:
    number = deliver(state="quarantined", result=None)
    operator = dashboard.sign_in()
    operator.post(f"/events/{number}/replay", data={"reason": "once"})
    assert operator.post(f"/events/{number}/replay", data={"reason": "twice"}).status_code == 409
    assert operator.get(f"/events/{number}/replay").status_code == 409


def test_a_replay_needs_a_reason_and_an_operator(dashboard: Any, deliver: Deliver) -> None:
    number = deliver(state="quarantined", result=None)
    viewer, operator = dashboard.sign_in("viewer"), dashboard.sign_in()
    assert "Replay" not in viewer.get(f"/events/{number}").text
    assert viewer.post(f"/events/{number}/replay", data={"reason": "curious"}).status_code == 403
    assert operator.post(f"/events/{number}/replay").status_code == 400
    assert dashboard.rows("deliveries")[0]["state"] == "quarantined"


def test_requests_turned_away_are_counted_by_reason_and_minute(dashboard: Any) -> None:
    minute = dashboard.clock().replace(second=0, microsecond=0)
    for reason, at, times in (
        ("signature_wrong", minute, 7),
        ("signature_wrong", minute - timedelta(hours=2), 5),
        (HOSTILE, minute, 1),
        ("not_post", minute - timedelta(days=2), 99),
    ):
        dashboard.put("rejections", minute=at, reason=reason, count=times, last_at=at)
    page = dashboard.sign_in("viewer").get("/events/rejected").text
    assert "<strong>12</strong>" in page
    assert f"{minute:%d %b %H:%M}" in page
    assert "No secret configured here makes this signature" in page
    assert "not_post" not in page
    assert "<script>alert" not in page


def test_a_source_that_has_never_been_silent_so_long_is_marked(dashboard: Any, deliver: Deliver) -> None:
    for minutes in (200, 190, 180):
        deliver(timedelta(minutes=minutes), event_type="labtest.order.created")
    for minutes in (120, 60, 1):
        deliver(timedelta(minutes=minutes), event_type="labtest.order.updated")
    page = dashboard.sign_in("viewer").get("/events/sources").text
    quiet, usual = page.index("labtest.order.created"), page.index("labtest.order.updated")
    assert usual < quiet < page.index("Longer than ever")
    assert page.count("Longer than ever") == 1


def test_the_jump_box_leads_to_a_delivery(dashboard: Any, deliver: Deliver) -> None:
    number = deliver(delivery_id="msg_wanted")
    answer = dashboard.sign_in("viewer").get("/jump?q=msg_wanted")
    assert answer.headers["location"] == f"/events/{number}"


def test_both_databases_tell_the_same(open_dashboard: Any, database_url: str, redis_url: str) -> None:
    dashboard = open_dashboard(database_url, redis_url)
    deliver = deliverer(dashboard)
    for days in range(3):
        deliver(timedelta(days=days, minutes=1))
    viewer = dashboard.sign_in("viewer")
    today = dashboard.clock().date().isoformat()
    page = viewer.get(f"/events?type=lab*&from=2026-01-01&to={today}").text
    assert "3 deliveries" in page
    for path in ("/events/sources", "/events/rejected", "/events/1"):
        assert viewer.get(path).status_code == 200


def test_looking_changes_nothing(dashboard: Any, deliver: Deliver) -> None:
    number = deliver(state="quarantined", result=None)
    viewer = dashboard.sign_in("viewer")
    before = contents(dashboard)
    for path in ("", "/rejected", "/sources", f"/{number}", f"/{number}/body", f"/{number}/replay"):
        assert viewer.get(f"/events{path}").status_code == 200
    assert contents(dashboard) == before


def contents(dashboard: Any) -> dict[str, int]:
    with reading(dashboard.store) as connection:
        counts = {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }
        states = connection.execute(select(deliveries.c.state, deliveries.c.attempts)).all()
    return {**counts, "states": hash(tuple(states))}


def test_a_day_is_the_whole_day(dashboard: Any, deliver: Deliver) -> None:
    now: datetime = dashboard.clock()
    deliver(timedelta(0), delivery_id="msg_now")
    assert "msg_now" in dashboard.sign_in("viewer").get(f"/events?to={now.date().isoformat()}").text
