"""Requests nobody in their right mind sends: none gets a 5xx, none leaves a traceback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error

from sandbox.running import RunningSandbox
from tests.faults import fuzz_intake, giant_post

pytestmark = [pytest.mark.api, pytest.mark.timeout(900)]

JUNCTION = schemathesis.openapi.from_path(Path(__file__).parents[1] / "data/openapi-orders.json")


@pytest.mark.parametrize("requests", [5_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_the_door_stands_fuzzed_requests(requests: int) -> None:
    assert fuzz_intake.main(requests) == 0


@pytest.mark.parametrize("mebibytes", [64, pytest.param(1024, marks=pytest.mark.long)])
def test_a_giant_body_does_not_grow_the_door(mebibytes: int) -> None:
    assert giant_post.main(mebibytes) == 0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with RunningSandbox(seed=7) as running:
        yield running


@JUNCTION.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_sandbox_answers_any_request_of_junctions_schema(
    case: "schemathesis.Case[Any]", sandbox: RunningSandbox
) -> None:
    key = {"x-vital-api-key": sandbox.config.api_key}
    case.call_and_validate(base_url=sandbox.url, headers=key, checks=[not_a_server_error])
