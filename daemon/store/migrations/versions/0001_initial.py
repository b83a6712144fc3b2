"""The first schema. Written out by hand: tables.py may change, what this step makes may not."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def digest(name: str, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.String(64), nullable=null)


def integer(name: str, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, nullable=null)


def number(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Float, nullable=False)


def text(name: str, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=null)


def flag(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=False)


def at(name: str = "at", null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def body(name: str = "body", null: bool = False) -> sa.Column[Any]:
    return sa.Column(
        name, sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql"), nullable=null
    )


def refers(column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target])


def keyed(table: str, keys: list[str], *columns: Any) -> None:
    op.create_table(table, *columns, sa.PrimaryKeyConstraint(*keys))


def numbered(table: str, *columns: Any) -> None:
    op.create_table(table, integer("id"), *columns, sa.PrimaryKeyConstraint("id"), sqlite_autoincrement=True)


def index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def upgrade() -> None:
    create_policies_and_cycles()
    create_answers()
    create_results()
    create_releases()
    create_evidence()
    create_indexes()


def create_policies_and_cycles() -> None:
    keyed(
        "policies",
        ["digest"],
        digest("digest"),
        digest("base_digest"),
        digest("adapter_digest", null=True),
        text("adapter_path", null=True),
        at("created_at"),
    )
    numbered(
        "cycles",
        digest("state"),
        digest("stage"),
        text("message", null=True),
        digest("incumbent_digest"),
        integer("seed"),
        digest("config_digest"),
        body("config"),
        at("started_at"),
        at("ended_at", null=True),
        at("updated_at"),
        integer("unfinished", null=True),
        refers("incumbent_digest", "policies.digest"),
        sa.UniqueConstraint("unfinished"),
    )
    keyed(
        "stages",
        ["cycle_id", "name"],
        integer("cycle_id"),
        digest("name"),
        digest("status"),
        at("started_at"),
        at("ended_at", null=True),
        number("seconds"),
        body("detail", null=True),
        refers("cycle_id", "cycles.id"),
    )


def create_answers() -> None:
    keyed(
        "prompts",
        ["digest"],
        digest("digest"),
        text("text"),
        integer("harmful_level"),
        text("base_prompt"),
        integer("principle_index", null=True),
        digest("method", null=True),
        text("source"),
        flag("hard_benign"),
    )
    keyed(
        "responses",
        ["key"],
        digest("key"),
        digest("policy_digest"),
        digest("prompt_digest"),
        digest("sampling_digest"),
        digest("context_name"),
        integer("seed"),
        text("text"),
        digest("finish_reason"),
        integer("tokens"),
        digest("answer_digest"),
        integer("cycle_id", null=True),
        at("created_at"),
        refers("prompt_digest", "prompts.digest"),
        refers("cycle_id", "cycles.id"),
    )
    keyed(
        "judges",
        ["digest"],
        digest("digest"),
        text("name"),
        digest("kind"),
        body("description"),
        at("first_seen_at"),
    )
    keyed(
        "verdicts",
        ["key"],
        digest("key"),
        digest("judge_digest"),
        digest("prompt_digest"),
        digest("answer_digest"),
        digest("label", null=True),
        body("probabilities", null=True),
        text("unscored_reason", null=True),
        text("transcript", null=True),
        integer("prompt_tokens"),
        integer("completion_tokens"),
        number("cost_usd"),
        number("latency_s"),
        flag("truncated"),
        integer("cycle_id", null=True),
        at("created_at"),
        refers("cycle_id", "cycles.id"),
        sa.CheckConstraint("(label IS NULL) <> (unscored_reason IS NULL)", name="label_or_reason"),
    )
    keyed(
        "asks",
        ["cycle_id", "purpose", "response_key"],
        integer("cycle_id"),
        digest("purpose"),
        digest("response_key"),
        refers("cycle_id", "cycles.id"),
    )


def create_results() -> None:
    keyed(
        "candidates",
        ["cycle_id", "key"],
        integer("cycle_id"),
        digest("key"),
        digest("method"),
        digest("parent_digest"),
        digest("preferences_digest"),
        digest("recipe_digest"),
        digest("policy_digest", null=True),
        digest("status"),
        text("error", null=True),
        body("card"),
        at("created_at"),
        refers("cycle_id", "cycles.id"),
        refers("policy_digest", "policies.digest"),
    )
    numbered(
        "scorecards",
        integer("cycle_id"),
        digest("policy_digest"),
        digest("role"),
        digest("split"),
        digest("judge_digest"),
        body(),
        at("created_at"),
        refers("cycle_id", "cycles.id"),
        sa.UniqueConstraint("cycle_id", "role", "policy_digest", "split", "judge_digest"),
    )
    keyed(
        "decisions",
        ["cycle_id"],
        sa.Column("cycle_id", sa.Integer, nullable=False, autoincrement=False),
        digest("outcome"),
        digest("winner_key", null=True),
        body(),
        at("created_at"),
        refers("cycle_id", "cycles.id"),
        sa.ForeignKeyConstraint(["cycle_id", "winner_key"], ["candidates.cycle_id", "candidates.key"]),
    )


def create_releases() -> None:
    numbered(
        "reviews",
        integer("cycle_id", null=True),
        digest("action"),
        text("who"),
        text("reason"),
        digest("policy_digest"),
        digest("bound_digest"),
        at(),
        refers("cycle_id", "cycles.id"),
    )
    numbered(
        "releases",
        digest("policy_digest"),
        integer("previous_id", null=True),
        integer("cycle_id", null=True),
        integer("review_id", null=True),
        digest("kind"),
        at("desired_at"),
        at("serving_at", null=True),
        refers("policy_digest", "policies.digest"),
        refers("previous_id", "releases.id"),
        refers("cycle_id", "cycles.id"),
        refers("review_id", "reviews.id"),
    )


def create_evidence() -> None:
    numbered("calibrations", digest("judge_digest"), digest("labels_digest"), body(), at())
    numbered(
        "human_labels",
        digest("prompt_digest"),
        digest("answer_digest"),
        text("prompt"),
        text("answer"),
        digest("label"),
        sa.Column("who", sa.String(256), nullable=False),
        at(),
        sa.UniqueConstraint("prompt_digest", "answer_digest", "who"),
    )
    numbered(
        "sentinel_runs",
        integer("cycle_id", null=True),
        digest("judge_digest"),
        digest("set_digest"),
        integer("n"),
        integer("agreed"),
        number("lower_limit"),
        flag("drifted"),
        at(),
        refers("cycle_id", "cycles.id"),
    )
    numbered(
        "incidents",
        digest("prompt_digest"),
        digest("severity"),
        text("note"),
        text("who"),
        digest("source"),
        at(),
        at("closed_at", null=True),
        refers("prompt_digest", "prompts.digest"),
    )
    numbered(
        "split_openings",
        digest("split_digest"),
        digest("split"),
        digest("purpose"),
        integer("cycle_id", null=True),
        at(),
        refers("cycle_id", "cycles.id"),
        sa.UniqueConstraint("split_digest", "split", "purpose", "cycle_id"),
    )
    numbered(
        "ledger",
        integer("cycle_id", null=True),
        digest("judge_digest"),
        integer("calls"),
        integer("prompt_tokens"),
        integer("completion_tokens"),
        number("cost_usd"),
        number("gpu_seconds"),
        at(),
        refers("cycle_id", "cycles.id"),
    )
    numbered(
        "events",
        at(),
        integer("cycle_id", null=True),
        digest("kind"),
        body(),
        refers("cycle_id", "cycles.id"),
    )


INDEXES = (
    ("responses", "policy_digest"),
    ("responses", "prompt_digest"),
    ("responses", "cycle_id"),
    ("verdicts", "judge_digest", "answer_digest"),
    ("verdicts", "cycle_id"),
    ("candidates", "key"),
    ("reviews", "cycle_id"),
    ("releases", "cycle_id"),
    ("calibrations", "judge_digest"),
    ("sentinel_runs", "cycle_id"),
    ("sentinel_runs", "judge_digest"),
    ("incidents", "prompt_digest"),
    ("ledger", "cycle_id"),
    ("ledger", "judge_digest"),
    ("events", "cycle_id"),
)


def create_indexes() -> None:
    for table, *columns in INDEXES:
        index(table, *columns)


def downgrade() -> None:
    for table, *columns in INDEXES:
        op.drop_index(f"ix_{table}_{'_'.join(columns)}", table_name=table)
    for table in (
        "events",
        "ledger",
        "split_openings",
        "incidents",
        "sentinel_runs",
        "human_labels",
        "calibrations",
        "releases",
        "reviews",
        "decisions",
        "scorecards",
        "candidates",
        "asks",
        "verdicts",
        "judges",
        "responses",
        "prompts",
        "stages",
        "cycles",
        "policies",
    ):
        op.drop_table(table)
