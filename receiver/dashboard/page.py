"""What a page is made of. How to add one is said in pages.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection
from starlette.responses import Response

from receiver.dashboard.desk import Desk
from receiver.dashboard.visit import Visit
from workers.store.users import Role

Handler = Callable[[Visit], Response]

# What a topic looks like now; when it looks different a second later, whoever shows it is told.
# The argument is what stands behind the colon of a topic such as `order:84d9…`, else empty.
Mark = Callable[[Desk, str], object]

# The address of what a text from the jump box names, or None.
Finder = Callable[[Connection, str], str | None]


@dataclass(frozen=True, slots=True)
class Address:
    """One path (Starlette's syntax) and who answers it. Looking takes a viewer, posting takes `role`."""

    path: str
    get: Handler | None = None
    post: Handler | None = None
    role: Role = "operator"


@dataclass(frozen=True, slots=True)
class Page:
    """A page and what belongs to it. `key`: the letter after `g` that leads there."""

    label: str
    path: str
    icon: str
    key: str
    addresses: tuple[Address, ...]
    topics: Mapping[str, Mark] = field(default_factory=dict)
    finders: Mapping[str, Finder] = field(default_factory=dict)  # by what it finds: "order", "delivery"
