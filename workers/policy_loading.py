"""Accepting a policy: it becomes the active generation, and rules that now begin to act are told from those
that acted before."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from workers.core.policy import Mode, Policy
from workers.policy_file import Loaded, Mistakes
from workers.store import policies, renaming
from workers.store.policies import Generation

ACTING = {Mode.REVIEW, Mode.ENFORCE}


def accept(connection: Connection, loaded: Loaded, source: str, now: datetime) -> Generation:
    """Makes a policy the active one. The same text again changes nothing."""
    policies.forget_refused(connection, now)
    before = policies.active(connection)
    if before is not None and before.hash == loaded.hash:
        return before
    known = policies.modes(connection)
    for rule in loaded.policy.rules:
        if rule.renamed_from in known and rule.name not in known:
            renaming.rename(connection, rule.renamed_from, rule.name, now)
    policies.set_modes(connection, live_since(loaded.policy, known, now))
    return policies.activate(connection, loaded.hash, source, loaded.text, now)


def live_since(
    policy: Policy, known: dict[str, tuple[str, datetime | None]], now: datetime
) -> dict[str, tuple[str, datetime | None]]:
    """Since when each rule acts: a rule that acted before (under its name or its old one) keeps its time."""
    modes: dict[str, tuple[str, datetime | None]] = {}
    for rule in policy.rules:
        mode = policy.mode_of(rule)
        before = known.get(rule.name) or (known.get(rule.renamed_from) if rule.renamed_from else None)
        since = before[1] if before is not None else None
        modes[rule.name] = (mode.value, (since or now) if mode in ACTING else None)
    return modes


def in_brief(mistakes: Mistakes) -> str:
    """Every mistake in a line: where, and what."""
    return "\n".join(f"  {mistakes.source}:{at.line}:{at.column}: {at.message}" for at in mistakes.items)
