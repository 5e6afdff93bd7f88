"""The receiver as an ASGI application, put together from what it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import dramatiq
from starlette.applications import Starlette
from starlette.routing import Route

from receiver.health import Health
from receiver.intake import Intake
from receiver.metrics import Metrics
from receiver.settings import Settings
from receiver.webhooks import JunctionWebhook
from workers.store.inbox import Store

WEBHOOK_PATH = "/webhooks/junction"


def create_app(
    settings: Settings, store: Store, broker: dramatiq.Broker, clock: Callable[[], datetime]
) -> Starlette:
    """`clock` tells aware UTC time. The store is not touched before the first request."""
    metrics = Metrics()
    intake = Intake(
        store,
        broker,
        clock,
        metrics,
        room=settings.intake_room,
        patience=timedelta(seconds=settings.commit_seconds),
    )
    webhook = JunctionWebhook(
        intake,
        settings.open_keyring(metrics.bad_secret_files.inc),
        settings.keep,
        settings.limits,
        clock,
        metrics,
    )
    health = Health(
        intake,
        broker,
        metrics,
        metrics_token=settings.metrics_token.get_secret_value() if settings.metrics_token else None,
        metrics_open=settings.metrics == "open",
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        intake.start()
        yield
        await intake.stop()

    app = Starlette(
        routes=[
            Route(WEBHOOK_PATH, webhook),
            Route("/livez", health.livez),
            Route("/readyz", health.readyz),
            Route("/metrics", health.metrics),
        ],
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # to a sender a redirect is a failure too, and says less
    return app
