"""The sandbox on a real socket, for main.py and running.py alike."""

import asyncio
import socket

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class OpenProtocol(HttpToolsProtocol):
    """Shows each request its connection, so that a fault can cut it at any byte."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. OSError if the port is taken."""
    return socket.create_server((host, port), backlog=2048)


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{host}:{port}"


def server_for(app: Starlette) -> uvicorn.Server:
    """A server that says nothing; calls that hang on purpose hold its end up for one second at most."""
    config = uvicorn.Config(
        app, http=OpenProtocol, log_level="critical", access_log=False, timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config)
