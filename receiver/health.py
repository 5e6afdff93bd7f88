"""What the receiver tells about itself: /livez, /readyz and /metrics."""

from __future__ import annotations

import asyncio
import hmac

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from receiver.intake import Intake
from receiver.metrics import Metrics

QUEUE_ANSWERS_WITHIN = 1.0  # seconds


class Health:
    """`metrics_token`: what a scraper must bear, or None for nobody; `metrics_open` lets in everybody."""

    def __init__(
        self,
        intake: Intake,
        broker: dramatiq.Broker,
        metrics: Metrics,
        *,
        metrics_token: str | None,
        metrics_open: bool,
    ) -> None:
        self._intake = intake
        self._broker = broker
        self._metrics = metrics
        self._token = metrics_token
        self._open = metrics_open

    async def livez(self, _request: Request) -> Response:
        """200 as long as the process answers at all."""
        return JSONResponse({"process": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """200 when a delivery sent now would be stored, else 503. The queue is told but not needed."""
        store, queue = await asyncio.gather(self._intake.check(), self._queue_state())
        checks = {"inbox": store.reason if store else "ok", "queue": queue}
        return JSONResponse(checks, status_code=503 if store else 200)

    async def metrics(self, request: Request) -> Response:
        """Prometheus's text, for those who may."""
        if not self._open and self._token is None:
            message = "Metrics are closed. Set AUTOCANCEL_METRICS_TOKEN, or AUTOCANCEL_METRICS=open."
            return JSONResponse({"error": "metrics_closed", "message": message}, status_code=404)
        if not self._open and not self._is_borne_by(request):
            message = "Send the metrics token as a bearer token."
            headers = {"www-authenticate": "Bearer"}
            return JSONResponse(
                {"error": "token_wrong", "message": message}, status_code=401, headers=headers
            )
        return Response(self._metrics.text(), media_type=CONTENT_TYPE_LATEST)

    def _is_borne_by(self, request: Request) -> bool:
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode("latin-1"), f"Bearer {self._token}".encode())

    async def _queue_state(self) -> str:
        if not isinstance(self._broker, RedisBroker):
            return "unknown"
        try:
            async with asyncio.timeout(QUEUE_ANSWERS_WITHIN):
                await asyncio.to_thread(self._broker.client.ping)
        except Exception as error:  # noqa: BLE001 - every kind of trouble is the same news here
            return type(error).__name__
        return "ok"
