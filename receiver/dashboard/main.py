"""The dashboard's process: settings, store, queue and clock go into the application, uvicorn around it."""

from __future__ import annotations

import argparse
import socket
import sys
from datetime import UTC, datetime

import uvicorn
from starlette.applications import Starlette

from receiver.dashboard.app import create_app
from receiver.dashboard.desk import Desk
from receiver.dashboard.settings import DashboardSettings
from workers.broker import make_broker
from workers.configuration import BadSettings, describe, load
from workers.logs import log_as_json
from workers.messages import publish
from workers.queues import QueueReader
from workers.store.database import open_store

FINISH_REQUESTS = 2  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m receiver.dashboard.main",
        description="The operators' pages. Configured by the environment alone:",
        epilog=describe(DashboardSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args()
    try:
        settings = load(DashboardSettings)
    except BadSettings as problems:
        sys.stderr.write(f"The dashboard cannot start with these settings:\n{problems}\n")
        sys.exit(2)
    log_as_json()
    broker = make_broker(settings.redis_url.get_secret_value(), publisher=True)
    desk = Desk(
        settings=settings,
        store=open_store(settings.database_url.get_secret_value()),
        queues=QueueReader(broker.client),
        publish=lambda message: publish(broker, message),
        now=lambda: datetime.now(UTC),
    )
    app = create_app(desk)
    Server(server_config(app, settings), app).run()
    broker.close()


class Server(uvicorn.Server):
    """Tells the streams to end before it waits for open answers; else it would wait for them in vain."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self.app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.app.state.hub.stop()
        await super().shutdown(sockets)


def server_config(app: Starlette, settings: DashboardSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.dashboard_host,
        port=settings.dashboard_port,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.dashboard_proxies),
        forwarded_allow_ips=settings.dashboard_proxies,
        timeout_graceful_shutdown=FINISH_REQUESTS,
    )


if __name__ == "__main__":
    main()
