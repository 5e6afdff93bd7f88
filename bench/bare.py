"""What the receiver is compared with: uvicorn as it runs it, around next to nothing. `python -m bench.bare
nothing|verify PORT`."""

from __future__ import annotations

import sys
from base64 import b64decode
from datetime import UTC, datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.app import WEBHOOK_PATH
from receiver.main import spare_the_collector
from receiver.signature import Secret, Verified, verify
from sandbox.config import SECRET, TEAM_ID

SECRETS = (Secret("main", b64decode(SECRET.removeprefix("whsec_")), str(TEAM_ID)),)


async def nothing(request: Request) -> Response:
    """202 to whatever came, when it has come."""
    await request.body()
    return JSONResponse({"status": "accepted"}, 202)


async def verify_only(request: Request) -> Response:
    """202 if the signature is right."""
    body = await request.body()
    found = verify(request.scope["headers"], body, SECRETS, datetime.now(UTC), timedelta(minutes=5))
    return JSONResponse({"status": "accepted"}, 202 if isinstance(found, Verified) else 401)


def main(kind: str, port: str) -> None:
    app = Starlette(
        routes=[Route(WEBHOOK_PATH, {"nothing": nothing, "verify": verify_only}[kind], methods=["POST"])]
    )
    spare_the_collector()
    uvicorn.run(
        app, port=int(port), loop="uvloop", http="httptools", ws="none", access_log=False, log_config=None
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
