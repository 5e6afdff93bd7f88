"""Every table, and what a row of it means. Queries live in the modules named after the rows."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from workers.store.database import Utc

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only when the key is spelt INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")
Document = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

# The inbox: one row a delivery id, for ever; the body goes once it is projected and old.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("delivery_id", String(256), nullable=False, unique=True),
    Column("received_at", Utc, nullable=False),
    Column("signed_at", Utc, nullable=False),
    Column("secret_label", String(64), nullable=False),
    Column("event_type", String(128)),
    Column("team_id", String(64)),
    Column("order_id", String(64)),
    Column("body", Document),  # trimmed to the allow-list; null when unreadable, foreign or scrubbed
    Column("size", Integer, nullable=False),  # of the raw body, bytes
    Column("sha256", String(64), nullable=False),  # of the raw body
    # new -> done | ignored | quarantined; unreadable and foreign are set aside at the door
    Column("state", String(16), nullable=False),
    Column("result", String(32)),  # projected, no_change, out_of_order, unknown_type, ...
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("leased_until", Utc),
    Column("error", String(200)),  # type and place only
    Column("finished_at", Utc),
    Column("duplicates", Integer, nullable=False, server_default="0"),
    Column("last_duplicate_at", Utc),
    Index(
        "ix_deliveries_unfinished",
        "leased_until",
        "id",
        sqlite_where=text("state = 'new'"),
        postgresql_where=text("state = 'new'"),
    ),
    Index("ix_deliveries_order", "order_id", "id"),
    Index("ix_deliveries_received", "received_at", "id"),
    Index("ix_deliveries_state", "state", "id"),
)

# Requests that were turned away at the door: metadata only, counted by reason and minute.
rejections = Table(
    "rejections",
    metadata,
    Column("minute", Utc, primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("last_at", Utc, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("team_id", String(64)),
    Column("user_id", String(64)),
    Column("method", String(32)),  # null: sources disagree or are unknown
    Column("status", String(128)),  # raw text of the newest event
    Column("status_name", String(128)),  # its low-level part, canonical spelling
    Column("status_at", Utc),
    Column("open", Boolean, nullable=False),  # not terminal, as far as we know
    Column("slot_left", Utc),  # when the appointment begins that an ended order has left behind
    Column("reinstated", Boolean, nullable=False, server_default=text("false")),
    Column("lab_test_id", String(64)),
    Column("created_at", Utc),  # at Junction
    Column("updated_at", Utc),  # at Junction
    Column("facts", Document, nullable=False),  # everything else the core's Order holds
    Column("facts_version", BigInteger, nullable=False),
    Column("changed_at", Utc, nullable=False),  # our last change of this row
    Column("said_at", Utc),  # when a person or the platform last said something about it
    Column("look_asked_at", Utc),  # a person wants it looked at, though no rule may be due
    # what the plan said
    Column("next_at", Utc),
    Column("generation", BigInteger),  # policy generation of next_at
    Column("outlook", String(32)),  # will_cancel, kept, held, blocked, ... for lists
    Column("outlook_why", String(64)),  # of `waits`: what kept it from being looked at
    Column("outlook_rule", String(128)),
    Column("outlook_at", Utc),
    Column("woken_until", Utc),  # it is on the queue
    Column("leased_until", Utc),  # an evaluation is under way
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("look_again", Integer, nullable=False, server_default="0"),  # unknowns in a row, for the back-off
    Index(
        "ix_orders_next_at",
        "next_at",
        sqlite_where=text("next_at IS NOT NULL"),
        postgresql_where=text("next_at IS NOT NULL"),
    ),
    Index(
        "ix_orders_slot_left",
        "slot_left",
        sqlite_where=text("slot_left IS NOT NULL"),
        postgresql_where=text("slot_left IS NOT NULL"),
    ),
    Index("ix_orders_changed_at", "changed_at", "id"),
    Index("ix_orders_user_id", "user_id", "lab_test_id"),
    Index("ix_orders_status", "method", "status_name", "changed_at"),
    Index("ix_orders_outlook", "outlook", "outlook_at", "id", "outlook_rule"),  # all that is counted by rule
    Index("ix_orders_outcome", "outlook", "changed_at", "id"),
    Index("ix_orders_method", "method", "changed_at", "id"),
    Index("ix_orders_open", "changed_at", "id", sqlite_where=text("open = 1"), postgresql_where=text("open")),
    Index("ix_orders_rule", "outlook_rule", "changed_at", "id"),
    Index("ix_orders_status_name", "status_name", "changed_at"),
    Index("ix_orders_created_at", "created_at", "id"),
    Index(
        "ix_orders_stale_plan",
        "generation",
        "id",
        sqlite_where=text("open = 1"),
        postgresql_where=text("open"),
    ),
)

order_events = Table(
    "order_events",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("event_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Utc, nullable=False),
    Column("status", String(128), nullable=False),
    Column("detail", String(128)),
    Column("delivery", BigInteger),  # deliveries.id that brought it first; null: a GET did
    Column("seen_at", Utc, nullable=False),
    Index("ix_order_events_event", "event_id"),
)

appointments = Table(
    "appointments",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("order_id", String(64), nullable=False, index=True),
    Column("kind", String(128), nullable=False),
    Column("provider", String(128)),
    Column("status", String(128), nullable=False),
    Column("start_at", Utc),
    Column("end_at", Utc),
    Column("zone", String(64)),
    Column("booked_at", Utc),
    Column("changed_at", Utc, nullable=False),
    Column("observed_at", Utc, nullable=False),
)

signals = Table(
    "signals",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("scope", String(8), nullable=False),  # order or user
    Column("target", String(64), nullable=False),
    Column("name", String(128), nullable=False),
    Column("at", Utc, nullable=False),
    Column("retracted_at", Utc),
    Column("actor", String(64), nullable=False),
    Index("ix_signals_target", "scope", "target"),
)

labels = Table(
    "labels",
    metadata,
    Column("scope", String(8), primary_key=True),
    Column("target", String(64), primary_key=True),
    Column("label", String(64), primary_key=True),
    Column("at", Utc, nullable=False),
    Column("actor", String(64), nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("order_id", String(64), primary_key=True),
    Column("at", Utc, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("reason", String(500), nullable=False),
)

# One row a switch: `stop` (everything), `rule:<name>` (paused or tripped), `queue:<name>` (paused).
# One that is on with an `until` is turned off by the clock.
controls = Table(
    "controls",
    metadata,
    Column("name", String(160), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("at", Utc, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("until", Utc),
)

policies = Table(
    "policies",
    metadata,
    Column("generation", Serial, primary_key=True, autoincrement=True),
    Column("hash", String(64), nullable=False),
    Column("source", String(256), nullable=False),
    Column("text", Text, nullable=False),
    Column("loaded_at", Utc, nullable=False),
    Column("active", Boolean, nullable=False),
)

# Each rule's mode as last activated: a rule switched to act leaves its backlog alone.
rules = Table(
    "rules",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("mode", String(8), nullable=False),
    Column("live_since", Utc),
)

# One row an activation key: why an order was cancelled, held, shown in shadow, or left alone when due.
decisions = Table(
    "decisions",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("order_id", String(64), nullable=False),
    Column("key", String(400)),  # the activation key; null for negatives, which may repeat
    Column("space", String(8), nullable=False),  # live or shadow
    Column("rule", String(128)),
    Column("action", String(32)),
    Column("verdict", String(16), nullable=False),
    Column("state", String(16), nullable=False),  # open (review, held), acting, final
    Column("mode", String(8)),
    Column("generation", BigInteger),
    Column("policy_hash", String(64)),
    Column("trigger", String(32), nullable=False),
    Column("due_at", Utc),
    Column("at", Utc, nullable=False),
    Column("last_at", Utc, nullable=False),  # identical negatives are counted, not repeated
    Column("times", Integer, nullable=False, server_default="1"),
    Column("facts_version", BigInteger, nullable=False),
    Column("reason", String(500), nullable=False),
    Column("trace", Document, nullable=False),
    Column("resolved_by", String(64)),
    Column("resolved_at", Utc),
    UniqueConstraint("space", "key"),
    Index("ix_decisions_order", "order_id", "id"),
    Index("ix_decisions_at", "at", "id", "verdict", "state", "rule"),  # all that is counted by time
    Index("ix_decisions_verdict", "verdict", "id"),
    Index("ix_decisions_rule", "rule", "id"),
    Index("ix_decisions_state", "state", "id"),
    Index(
        "ix_decisions_open",
        "state",
        "id",
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)

# The ledger: one row before the first byte is sent.
LIVE_STATES = ("planned", "sending", "unknown", "confirmed")
_live = text("state IN ('planned', 'sending', 'unknown', 'confirmed')")
actions = Table(
    "actions",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("decision", BigInteger, ForeignKey("decisions.id"), nullable=False),
    Column("order_id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),  # cancel_order, cancel_psc_appointment, cancel_home_visit
    Column("target", String(64), nullable=False),  # the order's or the appointment's id
    Column("step", Integer, nullable=False),  # 0 goes first
    Column("state", String(16), nullable=False),
    Column("reason", String(500)),
    Column("posts", Integer, nullable=False, server_default="0"),  # calls that may have reached Junction
    Column("looks", Integer, nullable=False, server_default="0"),  # GETs since the last call
    Column("attempts", Integer, nullable=False, server_default="0"),  # handler runs that did not finish
    Column("next_at", Utc),  # when to do something about it; null: nothing to do
    Column("leased_until", Utc),
    Column("sent_at", Utc),
    Column("sending_until", Utc),
    Column("baseline", BigInteger),  # newest event id when the call was made
    Column("answer", String(32)),  # what came back of the last call
    Column("before", String(128)),  # the slot's status when the call was made
    Column("event", BigInteger),  # the event that our call caused
    Column("created_at", Utc, nullable=False),
    Column("changed_at", Utc, nullable=False),
    Index("uq_actions_live", "order_id", "target", unique=True, sqlite_where=_live, postgresql_where=_live),
    Index(
        "ix_actions_due",
        "next_at",
        sqlite_where=text("next_at IS NOT NULL"),
        postgresql_where=text("next_at IS NOT NULL"),
    ),
    Index("ix_actions_order", "order_id"),
    Index("ix_actions_decision", "decision", "step"),
)

# Every exchange with Junction about an action: what was asked, what came back, in words of our own.
attempts = Table(
    "attempts",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("action", BigInteger, ForeignKey("actions.id"), nullable=False, index=True),
    Column("at", Utc, nullable=False),
    Column("call", String(32), nullable=False),
    Column("http_status", Integer),
    Column("latency_ms", Integer),
    Column("outcome", String(64), nullable=False),
)

# Limits: one row a reservation, counted over sliding windows under the scope's control row.
reservations = Table(
    "reservations",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Utc, nullable=False),
    Column("rule", String(128), nullable=False),
    Column("order_id", String(64), nullable=False),
    Column("decision", BigInteger, nullable=False),
    Index("ix_reservations_at", "at", "rule"),
)

# What the platform shall be told. Written with the decision, sent by whoever notifies.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("key", String(400), nullable=False, unique=True),
    Column("type", String(64), nullable=False),
    Column("order_id", String(64), index=True),
    Column("body", Document, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("delivered_at", Utc),
)

# A message that failed for good, or a row that was set aside: the truth about dead letters.
failures = Table(
    "failures",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("message_id", String(64)),
    Column("queue", String(32), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("fingerprint", String(200), nullable=False),
    Column("error", String(200), nullable=False),  # type
    Column("place", String(200), nullable=False),  # module:function of our innermost frame
    Column("args", Document, nullable=False),  # ids only
    Column("order_id", String(64)),
    Column("version", String(64), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("at", Utc, nullable=False),
    Column("state", String(16), nullable=False),  # open, acknowledged, replayed, discarded, resolved
    Column("resolved_at", Utc),
    Column("resolved_by", String(64)),
    Column("reason", String(500)),
    Index("ix_failures_group", "state", "fingerprint", "id"),
    Index(
        "ix_failures_order",
        "order_id",
        sqlite_where=text("state = 'open'"),
        postgresql_where=text("state = 'open'"),
    ),
)

# Worker processes and what each thread is doing right now (Redis does not know what is running).
processes = Table(
    "processes",
    metadata,
    Column("id", String(64), primary_key=True),  # host:pid:start
    Column("kind", String(16), nullable=False),
    Column("host", String(128), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(64), nullable=False),
    Column("queues", String(256), nullable=False),
    Column("threads", Integer, nullable=False),
    Column("rss_kb", Integer),
    Column("started_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),
    Column("running", Document, nullable=False),  # [{message_id, actor, queue, since}]
    Column("paused", String(256), nullable=False, server_default=""),
)

# Counters rolled up per minute, for charts: (minute, series) -> value.
figures = Table(
    "figures",
    metadata,
    Column("minute", Utc, primary_key=True),
    Column("series", String(96), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("at", Utc, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(160), nullable=False),
    Column("before", Document),
    Column("after", Document),
    Column("reason", String(500)),
    Column("request_id", String(64)),
    Column("ip_prefix", String(64)),
    Index("ix_audit_at", "at", "id"),
    Index("ix_audit_target", "target", "id"),
)

users = Table(
    "users",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("password", String(200), nullable=False),  # argon2id
    Column("role", String(16), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("disabled_at", Utc),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("locked_until", Utc),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", String(64), primary_key=True),  # sha256 of the cookie
    Column("user", String(64), ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("seen_at", Utc, nullable=False),
)

# The frozen set of rows behind a bulk action's preview.
previews = Table(
    "previews",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("ids", Document, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("done_at", Utc),
    Column("result", Document),
)
