"""What one sandbox is made of, put together once in app.py and found again at `request.app.state.sandbox`."""

from dataclasses import dataclass, field
from uuid import UUID

from starlette.requests import Request

from sandbox.background import Background
from sandbox.calllog import CallLog
from sandbox.config import Config
from sandbox.faults import Faults
from sandbox.laboratory import Laboratory
from sandbox.webhooks import Sender


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    config: Config
    laboratory: Laboratory
    sender: Sender
    faults: Faults
    background: Background
    log: CallLog = field(default_factory=CallLog)
    orders_by_key: dict[str, UUID] = field(default_factory=dict)  # idempotency key -> order placed with it

    def reset(self) -> None:
        """Forget everything; what is under way is dropped."""
        self.background.cancel()
        self.laboratory.orders.clear()
        self.sender.forget()
        self.faults.clear()
        self.log.calls.clear()
        self.orders_by_key.clear()


def sandbox_of(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox
