"""The official SDK drives the sandbox over real HTTP, so that the stand-in stays honest."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from junction import Junction, PatientAddressWithValidation, PatientDetailsWithValidation
from junction.core.api_error import ApiError

from sandbox.machine import Method
from sandbox.orders import CATALOGUE
from sandbox.running import RunningSandbox

PATIENT = PatientDetailsWithValidation.model_validate(
    {
        "first_name": "Some",
        "last_name": "Body",
        "dob": "1990-01-01",
        "gender": "female",
        "phone_number": "+15005550001",
        "email": "some.body@example.com",
    }
)
ADDRESS = PatientAddressWithValidation(
    first_line="1 Road", city="Phoenix", state="AZ", zip="85004", country="US"
)


@pytest.fixture
def junction(sandbox: RunningSandbox) -> Iterator[Junction]:
    client = Junction(base_url=sandbox.url, api_key=sandbox.config.api_key, max_retries=0)
    yield client
    client._client_wrapper.httpx_client.httpx_client.close()


def placed(junction: Junction, method: Method, key: str | None = None) -> str:
    answer = junction.lab_tests.create_order(
        user_id=str(uuid4()),
        lab_test_id=str(CATALOGUE[method].id),
        patient_details=PATIENT,
        patient_address=ADDRESS,
        idempotency_key=key,
    )
    return str(answer.order.id)


@pytest.mark.parametrize("method", Method)
def test_the_sdk_places_reads_and_cancels_an_order(junction: Junction, method: Method) -> None:
    order_id = placed(junction, method)
    order = junction.lab_tests.get_order(order_id)
    assert order.last_event.status == f"received.{method}.ordered"
    assert junction.lab_tests.cancel_order(order_id).order.status == "cancelled"
    with pytest.raises(ApiError) as refused:
        junction.lab_tests.cancel_order(order_id)
    assert refused.value.status_code == 400


def test_the_sdk_lists_what_waits(junction: Junction) -> None:
    first, second = placed(junction, Method.TESTKIT), placed(junction, Method.WALK_IN)
    junction.lab_tests.cancel_order(first)
    waiting = junction.lab_tests.get_orders(status=["ordered"], size=100)
    assert [order.id for order in waiting.orders] == [second]


def test_the_sdks_idempotency_key_is_honoured(junction: Junction) -> None:
    assert placed(junction, Method.ON_SITE, "k") == placed(junction, Method.ON_SITE, "k")


def test_the_sdk_simulates_a_life(junction: Junction) -> None:
    order_id = placed(junction, Method.AT_HOME)
    junction.lab_tests.simulate_order_process(
        order_id, final_status="completed.at_home_phlebotomy.completed", delay=0
    )
    assert junction.lab_tests.get_order(order_id).status == "completed"


def test_the_sdk_books_moves_and_cancels_a_slot(junction: Junction) -> None:
    order_id = placed(junction, Method.WALK_IN)
    booked = junction.lab_tests.book_psc_appointment(order_id, booking_key="k")
    moved = junction.lab_tests.reschedule_psc_appointment(order_id, booking_key="k")
    assert booked.start_at is not None
    assert moved.start_at is not None
    assert booked.start_at < moved.start_at
    assert junction.lab_tests.get_psc_appointment(order_id).id == booked.id
    reasons = junction.lab_tests.get_psc_appointment_cancellation_reason()
    other = next(reason.id for reason in reasons if reason.name == "Other")
    cancelled = junction.lab_tests.cancel_psc_appointment(order_id, cancellation_reason_id=other)
    assert cancelled.status == "cancelled"


def test_the_sdk_reports_an_on_site_draw(junction: Junction) -> None:
    order_id = placed(junction, Method.ON_SITE)
    drawn = junction.lab_tests.update_on_site_collection_order_draw_completed(order_id).order
    assert drawn.last_event.status == "sample_with_lab.on_site_collection.draw_completed"


def test_the_sdk_asks_for_webhooks_again(junction: Junction) -> None:
    order_id = placed(junction, Method.TESTKIT)
    assert junction.order.resend_events(order_ids=[order_id]).order_ids == [order_id]
