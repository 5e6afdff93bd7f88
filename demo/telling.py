"""What the demo says on the terminal: what becomes of each order and why, and the table at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from demo.cast import Ending
from demo.checking import Outcome, wrong_with
from demo.playing import Part

METHODS = {
    "testkit": "test kit",
    "walk_in_test": "walk-in",
    "at_home_phlebotomy": "home visit",
    "on_site_collection": "on site",
}
STYLES = {
    Ending.CANCELLED: "green",
    Ending.SLOT: "green",
    Ending.KEPT: "blue",
    Ending.BLOCKED: "yellow",
    Ending.REFUSED: "magenta",
    Ending.REVIEW: "cyan",
    Ending.SHADOW: "bright_black",
    Ending.FAILED: "bold red",
}
