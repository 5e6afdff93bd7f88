"""A rule under a new name: whatever was counted, decided or switched under the old one goes on under the new."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, delete, func, select, update
from sqlalchemy.orm.util import aliased
