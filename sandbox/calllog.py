"""What the sandbox was asked, in order, so that a test can count calls and effective cancels."""

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from sandbox.orders import Json, with_z


@dataclass(slots=True, kw_only=True)
class LoggedCall:
    """One API call. `status` stays None while unanswered; `applied`: it changed something, maybe later."""

    seq: int
    at: datetime
    operation: str
    method: str
    path: str
    order_id: UUID | None
    status: int | None = None
    applied: bool = False


class CallLog:
    def __init__(self) -> None:
        self.calls: list[LoggedCall] = []

    def enter(
        self, at: datetime, operation: str, method: str, path: str, order_id: UUID | None
    ) -> LoggedCall:
        call = LoggedCall(
            seq=len(self.calls) + 1, at=at, operation=operation, method=method, path=path, order_id=order_id
        )
        self.calls.append(call)
        return call


def call_json(call: LoggedCall) -> Json:
    order_id = str(call.order_id) if call.order_id else None
    return asdict(call) | {"at": with_z(call.at), "order_id": order_id}
