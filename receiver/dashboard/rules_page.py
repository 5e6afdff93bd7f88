"""Rules: the policy in force, what each rule does and will do, the switches, and a draft tried out.

Nothing here edits a policy: the file on disk is the only source; whatever else was said, the next deployment
would overwrite.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial

from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.responses import Response

from receiver.dashboard.desk import Desk
from receiver.dashboard.drafts import MOST_ORDERS, compare
from receiver.dashboard.orders_page import METHODS
from receiver.dashboard.page import Address, Page
from receiver.dashboard.visit import Visit, not_found
from workers import operating
from workers.core.limits import Ceiling
from workers.core.policy import Mode, Rule
from workers.limit_gauges import gauges
from workers.limiting import rule_limit
from workers.operating import Said
from workers.policy_file import Mistake, Mistakes, locate, parse_policy
from workers.policy_lint import lint
from workers.services import Active, ActivePolicy, PolicyNotUnderstood
from workers.store import controls, overview_reads, policies
from workers.store.database import store_time
from workers.store.overview_reads import RuleRecord

POLICY = ActivePolicy()

CHANGES_SHOWN = 100

Switch = tuple[str, str, datetime]  # reason, who, since

CEILINGS = {"per_hour": "in an hour", "per_day": "in a day"}


@dataclass(frozen=True, slots=True)
class RuleLine:
    """One rule as it stands. `mode`: as far as the whole policy lets it go. `tripped`: by its own limits."""

    rule: Rule
    mode: Mode
    pause: Switch | None
    tripped: Switch | None
    ceilings: tuple[Ceiling, ...]
    record: RuleRecord | None
    coming: int


def show(visit: Visit) -> Response:
    with visit.desk.reading() as connection:
        generation = policies.active(connection)
        active = _in_force(connection)
        switches = controls.all_raised(connection)
        ceilings = gauges(connection, active, visit.now) if active else {}
        coming = visit.desk.coming(visit.now).value or {}
        lines = _lines(connection, active, switches, ceilings, coming, visit.now) if active else []
    return visit.render(
        "rules.html",
        generation=generation,
        active=active,
        warnings=_warnings(generation.text) if active and generation else (),
        refused=switches.get(policies.REFUSED),
        stop=switches.get(controls.STOP),
        tripped=switches.get(controls.LIMITS),
        ceilings=ceilings.get(controls.LIMITS, ()),
        lines=lines,
        methods=METHODS,
        ceiling_words=CEILINGS,
    )


def show_text(visit: Visit) -> Response:
    """The policy in force, as it was loaded."""
    with visit.desk.reading() as connection:
        generation = policies.active(connection)
    if generation is None:
        raise not_found("policy in force")
    return visit.render("policy_text.html", generation=generation)


@lru_cache(maxsize=4)
def _warnings(text: str) -> tuple[Mistake, ...]:
    """What is worth a look in a policy; the same text always has the same."""
    policy = parse_policy(text, "")
    return () if isinstance(policy, Mistakes) else locate(text, lint(policy))


def _in_force(connection: Connection) -> Active | None:
    """None before the first policy, or when another version of this program accepted it."""
    try:
        return POLICY.read(connection)
    except PolicyNotUnderstood:
        return None


def _lines(
    connection: Connection,
    active: Active,
    switches: Mapping[str, Switch],
    ceilings: Mapping[str, tuple[Ceiling, ...]],
    coming: Mapping[str, int],
    now: datetime,
) -> list[RuleLine]:
    """In the order in which they win over each other: priority, then the file's order."""
    records = overview_reads.records(connection, now)
    return [
        RuleLine(
            rule=rule,
            mode=active.policy.mode_of(rule),
            pause=switches.get(controls.rule_control(rule.name)),
            tripped=switches.get(rule_limit(rule.name)),
            ceilings=ceilings.get(rule_limit(rule.name), ()),
            record=records.get(rule.name),
            coming=coming.get(rule.name, 0),
        )
        for rule in sorted(active.policy.rules, key=lambda rule: -rule.priority)
    ]


# --- switches ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """One way to turn a switch. `do` gets the connection, the rule's name and who says so, and tells what
    came of it. `word`: to be typed, for what concerns everything; `password`: to be given once more, before
    everything goes on."""

    title: str
    button: str
    what: tuple[str, ...]
    do: Callable[[Connection, str, Said], str]
    danger: bool = False
    word: str = ""
    password: bool = False


def _stop(connection: Connection, _rule: str, said: Said) -> str:
    late = operating.stop(connection, said)
    return f"Stopped. It came too late for {late} on their way." if late else "Stopped: nothing is cancelled."


def _start(connection: Connection, _rule: str, said: Said) -> str:
    operating.start(connection, said)
    return "Started: what became due meanwhile is looked at now."


def _pause(connection: Connection, rule: str, said: Said) -> str:
    operating.pause(connection, rule, said)
    return f"{rule} is paused."


def _resume(connection: Connection, rule: str, said: Said) -> str:
    gone_on = operating.resume(connection, POLICY, rule or None, said)
    if gone_on is None:
        raise not_found("rule of that name in the policy in force")
    return f"{rule or 'The limits'} resumed; {gone_on} held decisions go on."


STOP = Turn(
    "Stop all cancellations",
    "Stop everything",
    (
        "From now on nothing is decided and nothing is sent, whatever the rules say.",
        "A call that is on its way already cannot be taken back.",
        "Webhooks are still accepted and orders stay up to date.",
    ),
    _stop,
    danger=True,
    word="stop",
)
START = Turn(
    "Start cancelling again",
    "Start",
    (
        "Rules act again, each in its mode.",
        "What became due meanwhile is looked at now; what is overdue for too long waits for a person.",
    ),
    _start,
    word="start",
    password=True,
)
PAUSE = Turn(
    "Pause",
    "Pause",
    ("The rule decides and sends nothing until it is resumed. Other rules go on.",),
    _pause,
)
RESUME = Turn(
    "Resume",
    "Resume",
    (
        "The rule acts again in its mode, and its own limits begin anew if they had tripped.",
        "Of its held decisions as many go on as the limits have room for.",
    ),
    _resume,
)
RESUME_LIMITS = Turn(
    "Resume after a tripped limit",
    "Resume",
    (
        "Rules act again. The hours and days that limits count do not begin anew.",
        "Of the held decisions as many go on as the limits have room for; the others stay held.",
    ),
    _resume,
    password=True,
)


def ask(visit: Visit, *, turn: Turn) -> Response:
    rule = _rule(visit)
    return visit.render("rules_switch.html", turn=turn, title=f"{turn.title} {rule}".strip())


def carry_out(visit: Visit, *, turn: Turn) -> Response:
    """Twice is harmless: a switch that is on stays on."""
    rule, reason = _rule(visit), visit.reason()
    if visit.form.get("word", "").strip().lower() != turn.word:
        raise HTTPException(400, f"Nothing was done: type {turn.word} to confirm.")
    if turn.password:
        visit.reauthenticate(turn.title.lower(), rule or "everything")
    with visit.desk.writing() as connection:
        told = turn.do(connection, rule, Said(visit.session.user, reason, store_time(connection)))
    return visit.go("/rules", told)


def _rule(visit: Visit) -> str:
    """The rule of this address, which the policy in force must have; empty when it is about none."""
    name = str(visit.path.get("rule", ""))
    if name:
        with visit.desk.reading() as connection:
            active = _in_force(connection)
        if active is None or active.policy.rule(name) is None:
            raise not_found("rule of that name in the policy in force")
    return name


# --- a draft -----------------------------------------------------------------------------------------------


def show_draft(visit: Visit) -> Response:
    """An empty desk: the policy in force to begin with."""
    with visit.desk.reading() as connection:
        generation = policies.active(connection)
    return _draft(visit, generation.text if generation else "")


def try_draft(visit: Visit) -> Response:
    """A POST for its size only: nothing is changed."""
    text = visit.form.get("text", "").replace("\r\n", "\n")
    parsed = parse_policy(text, "draft")
    if isinstance(parsed, Mistakes):
        return _draft(visit, text, mistakes=parsed.items)
    with visit.desk.reading() as connection:
        active = _in_force(connection)
        found = compare(connection, active.policy if active else None, parsed, visit.now)
    return _draft(visit, text, comparison=found, warnings=locate(text, lint(parsed)))


def _draft(
    visit: Visit,
    text: str,
    *,
    mistakes: tuple[Mistake, ...] = (),
    warnings: tuple[Mistake, ...] = (),
    comparison: object = None,
) -> Response:
    return visit.render(
        "draft.html",
        text=text,
        mistakes=mistakes,
        warnings=warnings,
        comparison=comparison,
        most=MOST_ORDERS,
        most_shown=CHANGES_SHOWN,
    )


def rules_topic(desk: Desk, _key: str) -> object:
    """A new policy, a switch; and every half minute, for what only counts."""
    with desk.reading() as connection:
        generation = policies.active(connection)
        switches = controls.all_raised(connection)
    return generation and generation.number, switches, int(desk.now().timestamp()) // 30


def _switch(path: str, turn: Turn) -> Address:
    return Address(path, get=partial(ask, turn=turn), post=partial(carry_out, turn=turn))


PAGE = Page(
    label="Rules",
    path="/rules",
    icon="rules",
    key="r",
    addresses=(
        Address("/rules", get=show),
        Address("/rules/text", get=show_text),
        Address("/rules/draft", get=show_draft, post=try_draft, role="viewer"),
        _switch("/rules/stop", STOP),
        _switch("/rules/start", START),
        _switch("/rules/limits/resume", RESUME_LIMITS),
        _switch("/rules/rule/{rule}/pause", PAUSE),
        _switch("/rules/rule/{rule}/resume", RESUME),
    ),
    topics={"rules": rules_topic},
)
