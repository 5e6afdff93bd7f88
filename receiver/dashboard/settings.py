"""The dashboard's settings. What every process shares is in workers/configuration.py."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from workers.configuration import Common


class DashboardSettings(Common):
    """No key of Junction's, no webhook secret: whoever breaks in here finds neither."""

    environment: Literal["sandbox", "production"] = Field(
        default="sandbox",
        description="Which Junction this is about; every page says so.",
    )
    dashboard_host: str = Field(
        default="127.0.0.1",
        description="The address the dashboard listens on; 0.0.0.0 is every one of this machine.",
    )
    dashboard_port: int = Field(
        default=8001, ge=0, le=65535, description="The dashboard's port; 0 takes a free one."
    )
    dashboard_origin: str = Field(
        default="http://127.0.0.1:8001",
        description="How browsers reach it: scheme, host, port. With https, cookies are bound to it.",
    )
    dashboard_proxies: str = Field(
        default="",
        description="Addresses of the proxies in front, with commas. Only they are believed about others'.",
    )
    dashboard_streams: int = Field(
        default=200, ge=1, description="Open tabs that one process keeps up to date; others look every 30 s."
    )
    dashboard_refresh_seconds: float = Field(
        default=1.0,
        gt=0,
        le=60,
        description="How often queue and store are asked for news, while anybody watches.",
    )

    @field_validator("dashboard_origin")
    @classmethod
    def _is_an_origin(cls, origin: str) -> str:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path.strip("/") or parts.query:
            raise ValueError("is not an origin like https://autocancel.example.com")
        return f"{parts.scheme}://{parts.netloc}".lower()

    @property
    def is_https(self) -> bool:
        return self.dashboard_origin.startswith("https:")
