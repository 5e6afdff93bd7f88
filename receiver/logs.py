"""Logs as one JSON object a line, on standard output. An error is told by its type and place: messages and
tracebacks may hold what a log must not."""

from __future__ import annotations

import logging
import sys
from traceback import extract_tb

import structlog
from structlog.typing import EventDict, WrappedLogger


def log_as_json() -> None:
    """For our own loggers and those of every library, uvicorn's included."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        error_by_type_and_place,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)


def error_by_type_and_place(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Puts `error` and `at` in the place of an exception."""
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        last = (extract_tb(error.__traceback__) or [None])[-1]
        event["error"] = type(error).__name__
        event["at"] = f"{last.name}:{last.lineno}" if last else "?"
    return event
