"""Lists as files: rows in, pieces of text out, so that few of them are in memory however long the list is."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from starlette.responses import StreamingResponse

Rows = Iterable[Mapping[Any, Any]]

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def send_file(name: str, kind: str, columns: Sequence[str], rows: Rows) -> StreamingResponse:
    """The rows as a file to keep. `kind`: a key of WRITERS."""
    write, media_type = WRITERS[kind]
    headers = {"content-disposition": f'attachment; filename="{name}.{kind}"'}
    return StreamingResponse(write(columns, rows), media_type=media_type, headers=headers)


def as_csv(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([harmless(_cell(row[name])) for name in columns])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def as_json(columns: Sequence[str], rows: Rows) -> Iterator[str]:
    separator = "[\n"
    for row in rows:
        yield separator + json.dumps({name: _value(row[name]) for name in columns})
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def harmless(cell: object) -> object:
    """A spreadsheet would run a text that begins like a formula; an apostrophe makes it a text."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _value(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _cell(value: object) -> object:
    """What fits into one cell: documents as their JSON."""
    return json.dumps(value) if isinstance(value, dict | list) else _value(value)


WRITERS: Mapping[str, tuple[Callable[[Sequence[str], Rows], Iterator[str]], str]] = {
    "csv": (as_csv, "text/csv"),
    "json": (as_json, "application/json"),
}
