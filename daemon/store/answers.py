"""Prompts, responses and verdicts: written as soon as they exist, found again by content address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Engine, Table, and_, case, func, or_, select

from daemon.store.engine import reading, writing
from daemon.store.rows import JudgeRow, Progress
from daemon.store.sql import all_rows, chunks, columns, insert_or_ignore, upsert
from daemon.store.tables import asks, candidates, judges, prompts, responses, verdicts
from policies.cares import Label
from policies.records import Judged, Prompt, Response, Verdict

# The records' fields in their order: a row's slice is the record.
_PROMPT = [prompts.c[field.name] for field in fields(Prompt)]
_RESPONSE = [responses.c[field.name] for field in fields(Response)]
_VERDICT = [verdicts.c[field.name] for field in fields(Verdict)]
_LABEL = _VERDICT.index(verdicts.c.label)
_REPLACED = [column.name for column in verdicts.columns if column.name != "key"]


class Answers:
    """What was asked, answered and judged. A `save` may be repeated; it returns how many rows were new."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def save_prompts(self, items: Iterable[Prompt]) -> int:
        """Keeps prompts. One that is known keeps the source and hard_benign it was first seen with."""
        rows = [{"digest": prompt.digest, **asdict(prompt)} for prompt in items]
        with writing(self._engine) as connection:
            return insert_or_ignore(connection, prompts, rows)

    def prompts_for(self, digests: Iterable[str]) -> dict[str, Prompt]:
        """The known ones among `digests`."""
        return {key: Prompt(*row) for key, row in self._find(prompts.c.digest, _PROMPT, digests)}

    def save_responses(self, items: Iterable[Response], cycle_id: int | None, at: datetime) -> int:
        """Keeps responses whose prompts are kept; `cycle_id` is the first cycle that asked.

        `items` is read to its end before anything is written, so that nobody waits for the database while
        a model generates: hand over an engine's stream in small batches.
        """
        rows = [
            {
                **asdict(response),
                "answer_digest": response.answer_digest,
                "cycle_id": cycle_id,
                "created_at": at,
            }
            for response in items
        ]
        with writing(self._engine) as connection:
            return insert_or_ignore(connection, responses, rows)

    def responses_for(self, keys: Iterable[str]) -> dict[str, Response]:
        """The known ones among `keys`."""
        return {key: Response(*row) for key, row in self._find(responses.c.key, _RESPONSE, keys)}

    def with_texts(self, prompt_texts: Iterable[str]) -> dict[tuple[str, str], set[tuple[str, str]]]:
        """(prompt, answer) texts of all kept answers to these prompts → their (prompt, answer) digests."""
        found: dict[tuple[str, str], set[tuple[str, str]]] = {}
        wanted = select(prompts.c.text, responses.c.text, prompts.c.digest, responses.c.answer_digest).join(
            responses, responses.c.prompt_digest == prompts.c.digest
        )
        with reading(self._engine) as connection:
            for piece in chunks(dict.fromkeys(prompt_texts)):
                for asked, said, *digests in connection.execute(wanted.where(prompts.c.text.in_(piece))):
                    found.setdefault((asked, said), set()).add((digests[0], digests[1]))
        return found

    def save_verdicts(self, items: Iterable[Verdict], cycle_id: int | None, at: datetime) -> int:
        """Keeps verdicts. The first scored one of a key stays; an unscored one gives way to a scored one."""
        rows = [_verdict_values(verdict, cycle_id, at) for verdict in items]
        with writing(self._engine) as connection:
            return upsert(
                connection,
                verdicts,
                rows,
                ["key"],
                _REPLACED,
                where=lambda new: and_(verdicts.c.label.is_(None), new["label"].is_not(None)),
            )

    def verdicts_for(self, keys: Iterable[str]) -> dict[str, Verdict]:
        """The known ones among `keys`, unscored ones included."""
        return {key: _verdict(row) for key, row in self._find(verdicts.c.key, _VERDICT, keys)}

    def save_judge(
        self, digest: str, name: str, kind: str, description: dict[str, Any], at: datetime
    ) -> None:
        """Keeps what a judge digest stands for; the first description stays, for it is part of the digest."""
        row = {"digest": digest, "name": name, "kind": kind, "description": description, "first_seen_at": at}
        with writing(self._engine) as connection:
            insert_or_ignore(connection, judges, [row])

    def judges(self) -> list[JudgeRow]:
        """Every judge ever seen, oldest first."""
        order = columns(judges, JudgeRow).order_by(judges.c.first_seen_at, judges.c.digest)
        with reading(self._engine) as connection:
            return all_rows(connection, order, JudgeRow)

    def add_asks(self, cycle_id: int, purpose: str, response_keys: Iterable[str]) -> int:
        """Writes down which responses a cycle uses, answered or not, and for what (train, trained …)."""
        rows = [
            {"cycle_id": cycle_id, "purpose": purpose, "response_key": key}
            for key in dict.fromkeys(response_keys)
        ]
        with writing(self._engine) as connection:
            return insert_or_ignore(connection, asks, rows)

    def trained_on(self) -> list[tuple[int, Prompt]]:
        """(cycle, prompt) of what candidates were trained on, ordered by cycle and prompt digest.

        That is what a cycle wrote down as `trained`. Cycles from before that was written down count with all
        that they asked for training, if they trained a candidate.
        """
        trained = select(candidates.c.cycle_id).where(candidates.c.status == "trained")
        told = select(asks.c.cycle_id).where(asks.c.purpose == "trained")
        statement = (
            select(asks.c.cycle_id, responses.c.prompt_digest)
            .join(responses, responses.c.key == asks.c.response_key)
            .where(asks.c.cycle_id.in_(trained))
            .where(
                or_(
                    asks.c.purpose == "trained",
                    and_(asks.c.purpose == "train", asks.c.cycle_id.not_in(told)),
                )
            )
            .distinct()
            .order_by(asks.c.cycle_id, responses.c.prompt_digest)
        )
        with reading(self._engine) as connection:
            rows = [(int(row[0]), str(row[1])) for row in connection.execute(statement)]
        known = self.prompts_for(digest for _, digest in rows)
        return [(cycle_id, known[digest]) for cycle_id, digest in rows]

    def judged(self, cycle_id: int, purpose: str, policy_digest: str, judge_digest: str) -> list[Judged]:
        """The asks of `purpose` that the policy answered and the judge has a verdict on, ordered by key."""
        answer, verdict = len(_PROMPT), len(_PROMPT) + len(_RESPONSE)
        statement = (
            select(*_PROMPT, *_RESPONSE, *_VERDICT)
            .select_from(asks)
            .join(responses, responses.c.key == asks.c.response_key)
            .join(prompts, prompts.c.digest == responses.c.prompt_digest)
            .join(verdicts, _verdict_of_response())
            .where(asks.c.cycle_id == cycle_id, asks.c.purpose == purpose)
            .where(responses.c.policy_digest == policy_digest, verdicts.c.judge_digest == judge_digest)
            .order_by(responses.c.key)
        )
        with reading(self._engine) as connection:
            return [
                Judged(Prompt(*row[:answer]), Response(*row[answer:verdict]), _verdict(row[verdict:]))
                for row in connection.execute(statement)
            ]

    def progress(self, cycle_id: int, purpose: str, judge_digest: str | None = None) -> Progress:
        """How many asks of a purpose are written down, answered and judged (by `judge_digest`, if given)."""
        verdict = and_(_verdict_of_response(), verdicts.c.judge_digest == judge_digest)
        unscored = case((verdicts.c.unscored_reason.is_not(None), 1))
        statement = (
            select(
                func.count(), func.count(responses.c.key), func.count(verdicts.c.key), func.count(unscored)
            )
            .select_from(asks)
            .outerjoin(responses, responses.c.key == asks.c.response_key)
            .outerjoin(verdicts, verdict)
            .where(asks.c.cycle_id == cycle_id, asks.c.purpose == purpose)
        )
        with reading(self._engine) as connection:
            return Progress(*connection.execute(statement).one())

    def counts(self) -> dict[str, int]:
        """Rows kept: prompts, responses, verdicts."""
        with reading(self._engine) as connection:
            return {table.name: _count(connection, table) for table in (prompts, responses, verdicts)}

    def _find(
        self, key: Column[Any], record: list[Column[Any]], values: Iterable[str]
    ) -> Iterator[tuple[str, Sequence[Any]]]:
        with reading(self._engine) as connection:
            for piece in chunks(dict.fromkeys(values)):
                rows = connection.execute(select(key, *record).where(key.in_(piece))).all()
                yield from ((row[0], row[1:]) for row in rows)


def _verdict_of_response() -> Any:
    return and_(
        verdicts.c.answer_digest == responses.c.answer_digest,
        verdicts.c.prompt_digest == responses.c.prompt_digest,
    )


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _verdict(row: Sequence[Any]) -> Verdict:
    values = list(row)
    values[_LABEL] = None if row[_LABEL] is None else Label(row[_LABEL])
    return Verdict(*values)


def _verdict_values(verdict: Verdict, cycle_id: int | None, at: datetime) -> dict[str, Any]:
    values = {field.name: getattr(verdict, field.name) for field in fields(Verdict)}
    values["label"] = None if verdict.label is None else verdict.label.value
    values["probabilities"] = None if verdict.probabilities is None else dict(verdict.probabilities)
    return {"key": verdict.key, **values, "cycle_id": cycle_id, "created_at": at}
