"""Which version this is, for logs, dashboards and version skew."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

# The image is built with the commit in this variable; elsewhere the package's version has to do.
COMMIT = os.environ.get("AUTOCANCEL_COMMIT", "")


def _installed() -> str:
    try:
        return version("autocancel")
    except PackageNotFoundError:  # run from a checkout
        return "checkout"


VERSION = f"{_installed()}+{COMMIT[:12]}" if COMMIT else _installed()
