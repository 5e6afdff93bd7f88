"""The receiver's process: settings, store, queue and clock go into the application, uvicorn around it."""

from __future__ import annotations

import argparse
import gc
import sys
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette

from receiver.app import create_app
from receiver.protocol import BoundedProtocol
from receiver.settings import Settings
from workers.broker import make_broker
from workers.configuration import BadSettings, describe, load
from workers.logs import log_as_json
from workers.store.database import open_store

FINISH_REQUESTS = 4  # seconds; with the intake's five, a stop takes less than ten


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m receiver.main",
        description="Takes Junction's webhooks in. Configured by the environment alone:",
        epilog=describe(Settings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        settings = load(Settings)
    except BadSettings as problems:
        sys.stderr.write(f"The receiver cannot start with these settings:\n{problems}\n")
        sys.exit(2)
    log_as_json()
    serve(settings)


def serve(settings: Settings) -> None:
    """Returns after SIGTERM or SIGINT, when what was accepted is finished."""
    store = open_store(settings.database_url.get_secret_value(), wait=settings.commit_seconds)
    broker = make_broker(settings.redis_url.get_secret_value(), publisher=True)
    app = create_app(settings, store, broker, lambda: datetime.now(UTC))
    spare_the_collector()
    uvicorn.Server(server_config(app, settings)).run()


def server_config(app: Starlette, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nobody's address is asked for
        timeout_graceful_shutdown=FINISH_REQUESTS,
    )


def spare_the_collector() -> None:
    """Everything loaded so far lives as long as the process. Looking at it again and again, the garbage
    collector made the slowest acknowledgements three times slower; requests leave it little to find.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


if __name__ == "__main__":
    main()
