"""The sandbox as an ASGI application: a stand-in for Junction's lab-test API, all of it in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from sandbox import api, control
from sandbox.background import Background
from sandbox.calls import refused, respond
from sandbox.config import Config
from sandbox.faults import Faults
from sandbox.laboratory import Laboratory
from sandbox.parts import Sandbox
from sandbox.webhooks import AT_ONCE, Sender


async def no_such_endpoint(request: Request, error: Exception) -> Response:
    """Unknown paths and methods are answered in JSON like everything else."""
    assert isinstance(error, HTTPException)
    return respond(refused(error.status_code, error.detail, error.headers))


def create_app(config: Config) -> Starlette:
    """One sandbox with its own orders; its parts are at `app.state.sandbox`."""
    # No proxy settings from the environment: the receiver is on this machine.
    client = httpx.AsyncClient(
        timeout=config.attempt_timeout, limits=httpx.Limits(max_connections=AT_ONCE), trust_env=False
    )
    background = Background()
    faults = Faults(Random(config.seed))
    sender = Sender(config, faults, background, client)
    sandbox = Sandbox(
        config=config,
        laboratory=Laboratory(config.now, sender.announce),
        sender=sender,
        faults=faults,
        background=background,
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield
            await background.stop()

    app = Starlette(
        routes=[*api.ROUTES, *control.ROUTES],
        exception_handlers={HTTPException: no_such_endpoint},
        lifespan=lifespan,
    )
    app.state.sandbox = sandbox
    return app
