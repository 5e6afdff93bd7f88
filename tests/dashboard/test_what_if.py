"""What every rule says of an order, now and in other circumstances; asking changes nothing."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.dashboard.conftest import Dashboard
from tests.dashboard.test_orders_pages import activate, put_order, text_of

TABLES = ("orders", "order_events", "decisions", "policies", "audit")


@pytest.fixture
def kit(dashboard: Dashboard, tmp_path: Path) -> str:
    """Ordered just now; the policy cancels kits that stay so for long."""
    activate(dashboard, tmp_path, "enforce")
    return put_order(dashboard)


def asked(dashboard: Dashboard, kit: str, **question: Any) -> str:
    answer = dashboard.sign_in("viewer").get(f"/orders/{kit}/rules", params=question)
    assert answer.status_code == 200
    return text_of(answer.text)


def test_now_the_rule_waits_and_later_it_is_due(dashboard: Dashboard, kit: str) -> None:
    assert "stuck-kit waits" in asked(dashboard, kit)
    later = dashboard.clock() + timedelta(days=60)
    assert "stuck-kit due" in asked(dashboard, kit, at=f"{later:%Y-%m-%dT%H:%M}")


def test_had_it_shipped_no_rule_would_want_it(dashboard: Dashboard, kit: str) -> None:
    later = dashboard.clock() + timedelta(days=60)
    shipped = asked(dashboard, kit, at=f"{later:%Y-%m-%dT%H:%M}", status="transit_customer")
    assert "stuck-kit no" in shipped
    assert "transit_customer" in shipped


def test_an_earlier_policy_is_asked_as_well(dashboard: Dashboard, kit: str, tmp_path: Path) -> None:
    activate(dashboard, tmp_path, "shadow")
    assert "mode shadow" in asked(dashboard, kit)
    assert "mode enforce" in asked(dashboard, kit, generation=1)


@pytest.mark.parametrize(
    "wrong", [{"at": "soon"}, {"status": "mislaid"}, {"generation": "99"}, {"who": "me"}]
)
def test_a_question_that_makes_no_sense_is_called_wrong(
    dashboard: Dashboard, kit: str, wrong: dict[str, str]
) -> None:
    assert "This question is not understood" in asked(dashboard, kit, **wrong)


def test_an_order_that_nobody_knows_has_no_such_page(dashboard: Dashboard) -> None:
    assert dashboard.sign_in("viewer").get("/orders/nobody/rules").status_code == 404


def test_asking_changes_nothing(dashboard: Dashboard, kit: str) -> None:
    before = [dashboard.rows(table) for table in TABLES]
    asked(dashboard, kit, status="transit_customer")
    assert [dashboard.rows(table) for table in TABLES] == before
