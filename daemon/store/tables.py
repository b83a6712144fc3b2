"""The tables. Bulky rows are keyed by content address; what happened once is numbered.

migrations/ repeats this by hand, and a test holds the two together.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from daemon.store.columns import AnyText, UtcDateTime, json_type

# Every constraint has a name, so that a later migration can drop it in SQLite, too.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key(name: str) -> Column[Any]:
    return Column(name, String(64), primary_key=True)


def _digest(name: str, *reference: Any, null: bool = False, index: bool = False) -> Column[Any]:
    return Column(name, String(64), *reference, nullable=null, index=index)


def _word(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, String(64), nullable=null)


def _text(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, AnyText(), nullable=null)


def _count(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, Integer, nullable=null)


def _number(name: str) -> Column[Any]:
    return Column(name, Float, nullable=False)


def _flag(name: str) -> Column[Any]:
    return Column(name, Boolean, nullable=False)


def _json(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, json_type(), nullable=null)


def _at(name: str = "at", *, null: bool = False) -> Column[Any]:
    return Column(name, UtcDateTime(), nullable=null)


def _id() -> Column[Any]:
    return Column("id", Integer, primary_key=True)


def _cycle(*, null: bool = False, index: bool = True) -> Column[Any]:
    return Column("cycle_id", Integer, ForeignKey("cycles.id"), nullable=null, index=index)


def _numbered(name: str, *columns: Any) -> Table:
    """A table of things that happened: ids are never used again, even after the last row is deleted."""
    return Table(name, metadata, _id(), *columns, sqlite_autoincrement=True)


# --- what was asked, answered and judged --------------------------------------------------------------

prompts = Table(
    "prompts",
    metadata,
    _key("digest"),
    _text("text"),
    _count("harmful_level"),
    _text("base_prompt"),
    _count("principle_index", null=True),
    _word("method", null=True),
    _text("source"),
    _flag("hard_benign"),
)

policies = Table(
    "policies",
    metadata,
    _key("digest"),
    _digest("base_digest"),
    _digest("adapter_digest", null=True),
    _text("adapter_path", null=True),
    _at("created_at"),
)

responses = Table(
    "responses",
    metadata,
    _key("key"),
    _digest("policy_digest", index=True),
    _digest("prompt_digest", ForeignKey("prompts.digest"), index=True),
    _digest("sampling_digest"),
    _word("context_name"),
    _count("seed"),
    _text("text"),
    _word("finish_reason"),
    _count("tokens"),
    _digest("answer_digest"),
    _cycle(null=True),
    _at("created_at"),
)

judges = Table(
    "judges",
    metadata,
    _key("digest"),
    _text("name"),
    _word("kind"),
    _json("description"),
    _at("first_seen_at"),
)

# No foreign key to prompts or judges: labelled rows of a calibration are judged and kept as well.
verdicts = Table(
    "verdicts",
    metadata,
    _key("key"),
    _digest("judge_digest"),
    _digest("prompt_digest"),
    _digest("answer_digest"),
    _word("label", null=True),
    _json("probabilities", null=True),
    _text("unscored_reason", null=True),
    _text("transcript", null=True),
    _count("prompt_tokens"),
    _count("completion_tokens"),
    _number("cost_usd"),
    _number("latency_s"),
    _flag("truncated"),
    _cycle(null=True),
    _at("created_at"),
    CheckConstraint("(label IS NULL) <> (unscored_reason IS NULL)", name="label_or_reason"),
    Index(None, "judge_digest", "answer_digest"),
)

# --- cycles -------------------------------------------------------------------------------------------

cycles = _numbered(
    "cycles",
    _word("state"),
    _word("stage"),
    _text("message", null=True),
    _digest("incumbent_digest", ForeignKey("policies.digest")),
    _count("seed"),
    _digest("config_digest"),
    _json("config"),
    _at("started_at"),
    _at("ended_at", null=True),
    _at("updated_at"),
    # 1 while the cycle is unfinished, then NULL: the database itself refuses a second unfinished cycle.
    Column("unfinished", Integer, nullable=True, unique=True),
)

stages = Table(
    "stages",
    metadata,
    Column("cycle_id", Integer, ForeignKey("cycles.id"), primary_key=True),
    Column("name", String(64), primary_key=True),
    _word("status"),
    _at("started_at"),
    _at("ended_at", null=True),
    _number("seconds"),
    _json("detail", null=True),
)

# No foreign key to responses: a plan may be written down before the first answer exists.
asks = Table(
    "asks",
    metadata,
    Column("cycle_id", Integer, ForeignKey("cycles.id"), primary_key=True),
    Column("purpose", String(64), primary_key=True),
    Column("response_key", String(64), primary_key=True),
)

# Keyed by cycle as well: a later cycle that finds the same key trained takes the adapter and has its own row.
candidates = Table(
    "candidates",
    metadata,
    Column("cycle_id", Integer, ForeignKey("cycles.id"), primary_key=True),
    Column("key", String(64), primary_key=True, index=True),
    _word("method"),
    _digest("parent_digest"),
    _digest("preferences_digest"),
    _digest("recipe_digest"),
    _digest("policy_digest", ForeignKey("policies.digest"), null=True),
    _word("status"),
    _text("error", null=True),
    _json("card"),
    _at("created_at"),
)

scorecards = _numbered(
    "scorecards",
    _cycle(index=False),
    _digest("policy_digest"),
    _word("role"),
    _word("split"),
    _digest("judge_digest"),
    _json("body"),
    _at("created_at"),
    UniqueConstraint("cycle_id", "role", "policy_digest", "split", "judge_digest"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("cycle_id", Integer, ForeignKey("cycles.id"), primary_key=True, autoincrement=False),
    _word("outcome"),
    _digest("winner_key", null=True),
    _json("body"),
    _at("created_at"),
    ForeignKeyConstraint(["cycle_id", "winner_key"], ["candidates.cycle_id", "candidates.key"]),
)

# --- release ------------------------------------------------------------------------------------------

reviews = _numbered(
    "reviews",
    _cycle(null=True),
    _word("action"),
    _text("who"),
    _text("reason"),
    _digest("policy_digest"),
    _digest("bound_digest"),
    _at(),
)

# previous_id is where a rollback from this release leads, not merely the row before it: see releases.py.
releases = _numbered(
    "releases",
    _digest("policy_digest", ForeignKey("policies.digest")),
    Column("previous_id", Integer, ForeignKey("releases.id"), nullable=True),
    _cycle(null=True),
    Column("review_id", Integer, ForeignKey("reviews.id"), nullable=True),
    _word("kind"),
    _at("desired_at"),
    _at("serving_at", null=True),
)

# --- evidence -----------------------------------------------------------------------------------------

calibrations = _numbered(
    "calibrations", _digest("judge_digest", index=True), _digest("labels_digest"), _json("body"), _at()
)

human_labels = _numbered(
    "human_labels",
    _digest("prompt_digest"),
    _digest("answer_digest"),
    _text("prompt"),
    _text("answer"),
    _word("label"),
    Column("who", String(256), nullable=False),
    _at(),
    UniqueConstraint("prompt_digest", "answer_digest", "who"),
)

sentinel_runs = _numbered(
    "sentinel_runs",
    _cycle(null=True),
    _digest("judge_digest", index=True),
    _digest("set_digest"),
    _count("n"),
    _count("agreed"),
    _number("lower_limit"),
    _flag("drifted"),
    _at(),
)

incidents = _numbered(
    "incidents",
    _digest("prompt_digest", ForeignKey("prompts.digest"), index=True),
    _word("severity"),
    _text("note"),
    _text("who"),
    _word("source"),
    _at(),
    _at("closed_at", null=True),
)

split_openings = _numbered(
    "split_openings",
    _digest("split_digest"),
    _word("split"),
    _word("purpose"),
    _cycle(null=True, index=False),
    _at(),
    UniqueConstraint("split_digest", "split", "purpose", "cycle_id"),
)

ledger = _numbered(
    "ledger",
    _cycle(null=True),
    _digest("judge_digest", index=True),
    _count("calls"),
    _count("prompt_tokens"),
    _count("completion_tokens"),
    _number("cost_usd"),
    _number("gpu_seconds"),
    _at(),
)

events = _numbered("events", _at(), _cycle(null=True), _word("kind"), _json("body"))
