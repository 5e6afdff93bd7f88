"""The webhook secrets: how a list of them is written, and a list that follows its file while we run."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import structlog

from receiver.signature import Secret

log = structlog.get_logger(__name__)

PREFIX = "whsec_"
SHORTEST_KEY = 16  # bytes; Svix makes 24
LOOK_EVERY = timedelta(seconds=1)

_LABEL = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


class BadSecretsError(ValueError):
    """The list cannot be used; says every reason, never a secret."""


def read_secrets(text: str, *, team_id: str | None, environment: str) -> tuple[Secret, ...]:
    """Reads `label=whsec_…[,team=UUID][,environment=…][,expires=ISO time]` items. An item ends with `;` or
    its line; `#` starts a comment.

    `team_id` is the team of items that name none. An item of another environment than ours is refused: a
    sandbox secret must not open the production door. Raises BadSecretsError with every problem.
    """
    lines = (line.partition("#")[0] for line in text.splitlines())
    items = [item.strip() for line in lines for item in line.split(";") if item.strip()]
    secrets, problems = [], []
    for number, item in enumerate(items, start=1):
        try:
            secrets.append(_read_secret(item, team_id, environment))
        except BadSecretsError as problem:
            problems.append(f"secret {number} {problem}")
    if len({secret.label for secret in secrets}) < len(secrets):
        problems.append("two secrets have the same label")
    if not items:
        problems.append("there is no secret in it")
    if problems:
        raise BadSecretsError("; ".join(problems))
    return tuple(secrets)


def _read_secret(item: str, team_id: str | None, environment: str) -> Secret:
    first, *rest = item.split(",")
    label, _, value = first.partition("=")
    label = label.strip()
    if not _LABEL.fullmatch(label) or label.startswith(PREFIX):
        raise BadSecretsError("has no label: write label=whsec_…")
    options = dict(_read_option(option) for option in rest)
    if options.get("environment", environment) != environment:
        raise BadSecretsError(f"is not of this environment, which is {environment}")
    team = _read_team(options["team"]) if "team" in options else team_id
    if team is None:
        raise BadSecretsError("names no team: add ,team=… or set AUTOCANCEL_TEAM_ID")
    expires_at = _read_time(options["expires"]) if "expires" in options else None
    return Secret(label, _read_key(value.strip()), team, expires_at)


def _read_option(option: str) -> tuple[str, str]:
    name, _, value = option.partition("=")
    if name.strip() not in {"team", "environment", "expires"}:
        raise BadSecretsError("has an unknown option: team, environment and expires are known")
    return name.strip(), value.strip()


def _read_key(value: str) -> bytes:
    try:
        key = b64decode(value.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not value.startswith(PREFIX) or len(key) < SHORTEST_KEY:
        raise BadSecretsError("is not whsec_ and the base64 that Junction's dashboard shows")
    return key


def _read_team(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError:
        raise BadSecretsError("has a team that is not a UUID") from None


def _read_time(value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise BadSecretsError("expires at something that is not an ISO time") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class SecretFile:
    """The secrets in a file, read again when it changes, so that a rotation needs no restart.

    A new version that cannot be used is logged and reported to `on_bad`, once; the secrets in use stay.
    Raises OSError or BadSecretsError when the first version is not usable.
    """

    def __init__(
        self, path: Path, read: Callable[[str], tuple[Secret, ...]], on_bad: Callable[[], None]
    ) -> None:
        self._path = path
        self._read = read
        self._on_bad = on_bad
        self._version = _version(path)
        self._secrets = read(path.read_text(encoding="utf-8"))
        self._look_at = datetime.min.replace(tzinfo=UTC)

    def current(self, now: datetime) -> tuple[Secret, ...]:
        """The secrets as of about a second ago."""
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY
            self._look()
        return self._secrets

    def _look(self) -> None:
        version = _version(self._path)
        if version == self._version:
            return
        self._version = version
        try:
            self._secrets = self._read(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as problem:
            reason = str(problem) if isinstance(problem, BadSecretsError) else type(problem).__name__
            log.error("webhook_secrets_not_reloaded", reason=reason)
            self._on_bad()
        else:
            log.info("webhook_secrets_reloaded", labels=[secret.label for secret in self._secrets])


def _version(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
