"""What operators have done to orders, to one or to many: shown before, done once, to what was shown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from starlette.exceptions import HTTPException

from receiver.dashboard import order_acts
from receiver.dashboard.auth import FAILURES_FROM_ONE_PLACE
from sandbox.running import RunningSandbox
from tests.dashboard.conftest import PASSWORD, Dashboard
from tests.workers.conftest import World, world_with
from workers import operating
from workers.core.order import PSC
from workers.operating import Said
from workers.store import controls, users
from workers.store.database import writing

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

IDLE = """
  - name: of-no-concern
    methods: [testkit, walk_in_test, at_home_phlebotomy]
    when:
      - signal: {name: never.sent}
    then: {action: cancel_order}
"""


@pytest.fixture
def world(dashboard: Dashboard, tmp_path: Path) -> Iterator[World]:
    """The engine that works on the dashboard's store, and its Junction."""
    with RunningSandbox(seed=7) as sandbox, world_with(sandbox, dashboard.store, tmp_path) as made:
        made.policy(IDLE)
        yield made


@pytest.fixture
def admin(dashboard: Dashboard) -> httpx.Client:
    return somebody(dashboard, "admin")


@pytest.fixture
def operator(dashboard: Dashboard) -> httpx.Client:
    return somebody(dashboard, "operator")


def somebody(dashboard: Dashboard, role: users.Role) -> httpx.Client:
    """Signed in, with PASSWORD."""
    dashboard.add_user(role)
    return dashboard.sign_in(role)


def some_orders(world: World, count: int, **story: Any) -> list[str]:
    """Orders that are known here."""
    found = [world.order(**story) for _ in range(count)]
    for order_id in found:
        world.deliver(order_id)
    world.drain()
    return found


def choose(browser: httpx.Client, action: str, *ids: str, **more: str) -> str:
    """Ticks orders; the address of what would become of them."""
    answer = browser.post("/orders/previews", data={"action": action, "id": list(ids), **more})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def confirm(browser: httpx.Client, address: str, **fields: str) -> httpx.Response:
    return browser.post(address, data={"reason": "a mistake", "password": PASSWORD, **fields})


def said(browser: httpx.Client, address: str) -> str:
    """What a page says, without its tags."""
    page = browser.get(address).text
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page[page.index("<main") :])))


def lines(dashboard: Dashboard) -> list[tuple[str, str, str]]:
    return [(row["actor"], row["action"], row["target"]) for row in dashboard.rows("audit")]


def held(dashboard: Dashboard) -> set[str]:
    return {row["order_id"] for row in dashboard.rows("holds")}


# --- many at once ------------------------------------------------------------------------------------------


def test_ticked_orders_are_shown_then_held_and_the_rest_is_named(
    dashboard: Dashboard, world: World, operator: httpx.Client
) -> None:
    first, second, third = some_orders(world, 3)
    (ended,) = some_orders(world, 1, state="cancelled")
    confirm(operator, f"/orders/{first}/hold")
    address = choose(operator, "hold", first, second, ended)
    shown = said(operator, address)
    assert "Hold from auto-cancel: 3 orders" in shown
    assert "ordered 2" in shown
    assert "cancelled 1" in shown
    assert "Skipped: it is held already 1" in shown
    assert "Skipped: it has ended already 1" in shown
    assert held(dashboard) == {first}
    assert confirm(operator, address).headers["location"] == address
    assert held(dashboard) == {first, second}
    assert third not in held(dashboard)
    result = said(operator, address)
    assert "Held 1" in result
    assert "Skipped: it is held already 1" in result
    assert lines(dashboard)[1:] == [("operator", "hold", second), ("operator", "hold_many", "3 orders")]
    assert dashboard.rows("audit")[-1]["reason"] == "a mistake"


def test_all_that_fit_the_filter_are_those_that_fitted_when_it_was_asked(
    dashboard: Dashboard, world: World, operator: httpx.Client
) -> None:
    kits = some_orders(world, 3, method="testkit")
    some_orders(world, 1, method="walk_in_test")
    address = choose(operator, "hold", all="method=testkit")
    later = some_orders(world, 1, method="testkit")
    confirm(operator, address)
    assert held(dashboard) == set(kits)
    assert not held(dashboard) & set(later)


def test_all_orders_without_any_filter_are_all_of_them(
    dashboard: Dashboard, world: World, operator: httpx.Client
) -> None:
    kits = some_orders(world, 2)
    confirm(operator, choose(operator, "hold", all=""))
    assert held(dashboard) == set(kits)


def test_the_most_recent_of_too_many_are_taken(
    dashboard: Dashboard, world: World, operator: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_acts, "MOST_IDS", 2)
    _, *newest = some_orders(world, 3)
    address = choose(operator, "hold", all="")
    assert "2, the newest of all that fit" in said(operator, address)
    confirm(operator, address)
    assert held(dashboard) == set(newest)


def test_a_second_confirmation_does_nothing(
    dashboard: Dashboard, world: World, operator: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    address = choose(operator, "hold", kit)
    confirm(operator, address)
    confirm(operator, f"/orders/{kit}/release")
    confirm(operator, address)
    assert held(dashboard) == set()


def test_what_was_shown_too_long_ago_is_not_done(
    dashboard: Dashboard, world: World, operator: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    address = choose(operator, "hold", kit)
    dashboard.clock.advance(minutes=11)
    confirm(operator, address)
    assert held(dashboard) == set()


def test_what_somebody_else_chose_is_nobodys_business(
    dashboard: Dashboard, world: World, operator: httpx.Client, admin: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    address = choose(operator, "hold", kit)
    assert admin.get(address).status_code == 404
    assert confirm(admin, address).status_code == 404
    assert held(dashboard) == set()


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"action": "hold"}, "Nothing was chosen"),
        ({"action": "hold", "id": "no-such-order"}, "Nothing was chosen"),
        ({"action": "burn", "id": "order"}, "no such action"),
        ({"action": "hold", "all": "method=spoon"}, "filters is wrong"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(
    dashboard: Dashboard, world: World, operator: httpx.Client, form: dict[str, str], why: str
) -> None:
    some_orders(world, 1)
    answer = operator.post("/orders/previews", data=form)
    assert answer.status_code == 400
    assert why in answer.text
    assert dashboard.rows("previews") == []


def test_every_deed_needs_a_reason(dashboard: Dashboard, world: World, admin: httpx.Client) -> None:
    (kit,) = some_orders(world, 1)
    for action in order_acts.DEEDS:
        assert confirm(admin, choose(admin, action, kit), reason=" ").status_code == 400
        assert confirm(admin, f"/orders/{kit}/{action}", reason=" ").status_code == 400
    assert dashboard.rows("audit") == []


def test_released_looked_at_again_and_asked_for(
    dashboard: Dashboard, world: World, operator: httpx.Client
) -> None:
    kits = some_orders(world, 2)
    confirm(operator, choose(operator, "hold", *kits))
    confirm(operator, choose(operator, "release", *kits))
    assert held(dashboard) == set()
    assert "Skipped: it is not held 2" in said(operator, choose(operator, "release", *kits))
    world.drain()
    confirm(operator, choose(operator, "evaluate", *kits))
    assert all(row["next_at"] for row in dashboard.rows("orders"))
    world.drain()
    for kit in kits:
        world.sandbox.event(kit, "awaiting_registration", quiet=True)
    confirm(operator, choose(operator, "refresh", *kits))
    world.drain()
    assert {row["status_name"] for row in dashboard.rows("orders")} == {"awaiting_registration"}


def test_what_breaks_off_in_the_middle_says_how_far_it_came(
    dashboard: Dashboard, world: World, operator: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_hold = controls.hold

    def hold(*arguments: Any, **more: Any) -> bool:
        if len(held(dashboard)) == 4:
            raise HTTPException(503, "The third batch does not get through.")
        return really_hold(*arguments, **more)

    monkeypatch.setattr(order_acts, "BATCH", 2)
    monkeypatch.setattr(controls, "hold", hold)
    kits = some_orders(world, 5)
    address = choose(operator, "hold", *kits)
    assert confirm(operator, address).status_code == 503
    assert len(held(dashboard)) == 4
    result = said(operator, address)
    assert "Held 4" in result
    assert "Not reached 1" in result
    last = dashboard.rows("audit")[-1]
    assert (last["action"], last["after"]["held"]) == ("hold_many", 4)


def test_one_page_offers_what_its_visitor_may_do(dashboard: Dashboard, world: World) -> None:
    (kit,) = some_orders(world, 1)
    for role, deeds in (
        ("viewer", []),
        ("operator", [*order_acts.DEEDS][:-1]),
        ("admin", [*order_acts.DEEDS]),
    ):
        page = somebody(dashboard, role).get("/orders").text  # type: ignore[arg-type]  # these are roles
        assert re.findall(r'name="action" value="(\w+)"', page) == deeds
        assert (f'value="{kit}"' in page) == bool(deeds)


# --- cancelling --------------------------------------------------------------------------------------------


def test_chosen_orders_are_cancelled_once_each_and_the_shipped_one_is_left(
    dashboard: Dashboard, world: World, admin: httpx.Client
) -> None:
    kits = some_orders(world, 2)
    (shipped,) = some_orders(world, 1, state="with_customer")
    address = choose(admin, "cancel", *kits, shipped)
    shown = said(admin, address)
    assert "Cancel now: 3 orders" in shown
    assert "Skipped: needs a status that may be cancelled 1" in shown
    assert "Cancel at Junction: 2" in shown
    confirm(admin, address)
    confirm(admin, address)
    world.drain()
    assert [world.posts(kit) for kit in (*kits, shipped)] == [1, 1, 0]
    assert [world.status(kit) for kit in kits] == ["cancelled", "cancelled"]
    result = said(admin, address)
    assert "Being cancelled 2" in result
    assert "Skipped: needs a status that may be cancelled 1" in result
    audit = lines(dashboard)
    assert sorted(audit[:2]) == sorted(("admin", "cancel", kit) for kit in kits)
    assert audit[2:] == [("admin", "cancel_many", "3 orders")]


def test_so_many_are_no_slip_of_the_finger(dashboard: Dashboard, world: World, admin: httpx.Client) -> None:
    kits = some_orders(world, 26)
    address = choose(admin, "cancel", *kits)
    assert "Type 26 to confirm" in said(admin, address)
    assert confirm(admin, address).status_code == 400
    assert confirm(admin, address, number="25").status_code == 400
    assert dashboard.rows("actions") == []
    assert confirm(admin, address, number="26").status_code == 303
    assert len(dashboard.rows("actions")) == 26


def test_a_wrong_password_cancels_nothing_and_is_on_record(
    dashboard: Dashboard, world: World, admin: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    address = choose(admin, "cancel", kit)
    for path, target in ((address, "1 orders"), (f"/orders/{kit}/cancel", kit)):
        answer = confirm(admin, path, password="not this one")
        assert answer.status_code == 403
        assert "that is not your password" in answer.text
        (line,) = (row for row in dashboard.rows("audit") if row["target"] == target)
        assert (line["actor"], line["action"], line["after"]) == (
            "admin",
            "wrong_password",
            {"action": "cancel now"},
        )
        assert line["ip_prefix"]
    assert dashboard.rows("actions") == []
    assert confirm(admin, address).status_code == 303  # the preview still stands
    assert len(dashboard.rows("actions")) == 1


def test_guessing_passwords_here_is_as_slow_as_at_the_door(
    dashboard: Dashboard, world: World, admin: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    for _ in range(5):
        assert confirm(admin, f"/orders/{kit}/cancel", password="a guess").status_code == 403
    assert confirm(admin, f"/orders/{kit}/cancel").status_code == 403  # the name has to wait now
    for _ in range(FAILURES_FROM_ONE_PLACE - 6):
        confirm(admin, f"/orders/{kit}/cancel", password="a guess")
    assert confirm(admin, f"/orders/{kit}/cancel").status_code == 429
    assert dashboard.rows("actions") == []
    dashboard.clock.advance(minutes=16)
    assert confirm(admin, f"/orders/{kit}/cancel").status_code == 303
    assert len(dashboard.rows("actions")) == 1


def test_only_admins_cancel(
    dashboard: Dashboard, world: World, operator: httpx.Client, admin: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    answer = operator.post("/orders/previews", data={"action": "cancel", "id": kit})
    assert answer.status_code == 403
    assert confirm(operator, f"/orders/{kit}/cancel").status_code == 403
    address = choose(admin, "cancel", kit)
    with writing(dashboard.store) as connection:  # no admin any more by the time of confirming
        connection.exec_driver_sql("UPDATE users SET role = 'operator' WHERE name = 'admin'")
    assert confirm(admin, address).status_code == 403
    assert dashboard.rows("actions") == []
    assert "/cancel" not in operator.get(f"/orders/{kit}").text


def test_the_page_before_tells_what_is_known_and_what_stands_against_it(
    dashboard: Dashboard, world: World, admin: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1, origin="redraw")
    (walk_in,) = some_orders(world, 1, method="walk_in_test", state="appointment_scheduled")
    (shipped,) = some_orders(world, 1, state="with_customer")
    fresh = said(admin, f"/orders/{kit}/cancel")
    assert "Open. It may be cancelled" in fresh
    assert "Origin redraw" in fresh
    assert "Your password" in fresh
    confirm(admin, f"/orders/{walk_in}/refresh")
    world.drain()
    visit = said(admin, f"/orders/{walk_in}/cancel")
    assert f"{PSC.replace('_', ' ')}, confirmed, starts" in visit
    assert "stays booked" in visit
    gone = said(admin, f"/orders/{shipped}/cancel")
    assert "Not possible: needs a status that may be cancelled" in gone
    assert "Your password" not in gone


def test_the_refund_is_given_up_only_on_purpose(
    dashboard: Dashboard, world: World, admin: httpx.Client
) -> None:
    (visit,) = some_orders(world, 1, method="at_home_phlebotomy", state="appointment_scheduled")
    soon = (dashboard.clock() + timedelta(hours=20)).isoformat()
    world.sandbox.appointment(visit, status="confirmed", start_at=soon)
    confirm(admin, f"/orders/{visit}/refresh")
    world.drain()
    assert "The fee of the visit is accepted" in said(admin, f"/orders/{visit}/cancel")
    confirm(admin, f"/orders/{visit}/cancel")
    assert "Not done: needs a home visit still refunded in full" in said(admin, f"/orders/{visit}")
    assert dashboard.rows("actions") == []
    address = choose(admin, "cancel", visit)
    assert "The fees of the 1 that are not refunded are accepted" in said(admin, address)
    confirm(admin, address, fee_accepted="1")
    world.drain()
    assert world.posts(visit) == 1
    (decision,) = dashboard.rows("decisions")
    assert "the fee is accepted" in said(admin, f"/decisions/{decision['id']}")


def test_two_clicks_on_one_order_make_one_call_and_say_so(
    dashboard: Dashboard, world: World, admin: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    confirm(admin, f"/orders/{kit}/cancel")
    confirm(admin, f"/orders/{kit}/cancel")
    assert "Not done: another cancellation of it is under way" in said(admin, f"/orders/{kit}")
    world.drain()
    assert world.posts(kit) == 1
    shown = said(admin, f"/orders/{kit}")
    assert "cancel by admin" in shown
    (decision,) = dashboard.rows("decisions")
    assert "operator: admin, “a mistake”" in said(admin, f"/decisions/{decision['id']}")


def test_while_everything_is_stopped_nobody_cancels(
    dashboard: Dashboard, world: World, admin: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    world.say(lambda c: operating.stop(c, Said("ana", "look into it", dashboard.clock())))
    assert "Not possible: stop is on: look into it" in said(admin, f"/orders/{kit}/cancel")
    confirm(admin, f"/orders/{kit}/cancel")
    assert "Not done: stop is on" in said(admin, f"/orders/{kit}")
    assert "none among them" in said(admin, choose(admin, "cancel", kit))
    assert dashboard.rows("actions") == []


def test_a_refresh_of_one_order_is_shown_until_it_is_done(
    dashboard: Dashboard, world: World, operator: httpx.Client
) -> None:
    (kit,) = some_orders(world, 1)
    world.sandbox.event(kit, "transit_customer", quiet=True)
    confirm(operator, f"/orders/{kit}/refresh")
    shown = said(operator, f"/orders/{kit}")
    assert "It is asked for at Junction within seconds." in shown
    assert "a worker looks soon" in shown
    world.drain()
    shown = said(operator, f"/orders/{kit}")
    assert "a worker looks soon" not in shown
    assert "Closed: shipped" in shown
