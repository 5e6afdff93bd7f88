"""What Junction tells about a person goes no further than the door: no disk, no Redis, no log has it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from sandbox import canaries
from sandbox.running import RunningSandbox
from tests.faults.house import SECRET, free_port, house
from tests.faults.receiver_process import TEAM
from workers.store import reads
from workers.store.database import reading

POLICY = """
version: 1
policy: canaries
environment: sandbox
time: {settle: 0s}
rules:
  - name: every-kit
    mode: enforce
    methods: [testkit]
    act_any_time: true
    backlog: include
    when: [{status: {in: [ordered], for: 1s}}]
    then: {action: cancel_order}
  - name: every-visit
    mode: enforce
    methods: [walk_in_test]
    act_any_time: true
    backlog: include
    when: [{status: {in: [appointment_scheduled]}}]
    then: {action: cancel_order, psc_appointment: always}
"""


@pytest.mark.timeout(180)
def test_no_canary_is_found_anywhere_after_orders_went_all_the_way(tmp_path: Path) -> None:
    port = free_port()
    webhooks = f"http://127.0.0.1:{port}/webhooks/junction"
    with RunningSandbox(webhook_url=webhooks, secrets=(SECRET,), team_id=TEAM, retry_scale=0.01) as sandbox:
        metrics: dict[str, Any] = {"AUTOCANCEL_METRICS": "open", "JUNCTION_BASE_URL": sandbox.url}
        metrics |= {"JUNCTION_API_KEY": sandbox.config.api_key, "AUTOCANCEL_TICK_SECONDS": "0.2"}
        with house(tmp_path, POLICY, port=port, **metrics) as running:
            yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
            kit = sandbox.order(method="testkit", created_at=yesterday)["id"]
            visit = sandbox.order(method="walk_in_test", state="requisition_created", created_at=yesterday)[
                "id"
            ]
            start = (datetime.now(UTC) + timedelta(days=3)).isoformat()
            sandbox.appointment(visit, provider="quest", status="confirmed", start_at=start, end_at=start)

            def both_cancelled() -> bool:
                with reading(running.store) as connection:
                    rows = [reads.order_row(connection, order_id) for order_id in (kit, visit)]
                return all(row is not None and row["status_name"] == "cancelled" for row in rows)

            running.wait(both_cancelled, 90)
            told = urlopen(Request(f"http://127.0.0.1:{port}/metrics")).read()
        places = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert len(places) > 5
    places[Path("metrics")] = told
    words = [canary.encode() for canary in canaries.ALL]
    assert [(str(path), word) for path, text in places.items() for word in words if word in text] == []
