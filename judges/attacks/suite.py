"""Templates × seed cases → the suite that tests judges, and rows that train them. Deterministic."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from judges.attacks.content import CONTENT
from judges.attacks.languages import OTHER_LANGUAGE
from judges.attacks.seeds import SEEDS, SeedCase
from judges.attacks.structural import STRUCTURAL
from judges.attacks.transforms import Attacked, Family, Template
from judges.labels import LabelledRow
from policies.cares import Label
from policies.digests import digest_of, seed_from

Split = Literal["train", "test"]

FAMILIES: tuple[Family, ...] = (*STRUCTURAL, *CONTENT, OTHER_LANGUAGE)
STRUCTURAL_FAMILIES: frozenset[str] = frozenset(family.name for family in FAMILIES if family.structural)


@dataclass(frozen=True)
class Attack:
    """One attacked case. `should` is the true label of the attacked text, `wanted` the attacker's."""

    attack_id: str
    family: str
    template: str
    seed: SeedCase
    prompt: str
    answer: str
    should: Label
    wanted: Label


def build_suite(
    *, split: Split = "test", per_family: int = 26, seed: int = 0, seeds: Sequence[SeedCase] = SEEDS
) -> tuple[Attack, ...]:
    """The suite: at most `per_family` attacks of each family, spread evenly over its templates.

    The default has 13 × 26 = 338 attacks and is the same on every machine.
    """
    return tuple(
        Attack(
            attack_id=f"{family.name}/{template.name}/{case.case_id}",
            family=family.name,
            template=template.name,
            seed=case,
            prompt=result.prompt,
            answer=result.answer,
            should=result.should,
            wanted=result.wanted,
        )
        for family in FAMILIES
        for template, case, result in _drawn(family, split, seeds, per_family, seed)
    )


def suite_digest(suite: Sequence[Attack]) -> str:
    """Address of what is asked and what should be said."""
    return digest_of([[attack.attack_id, attack.prompt, attack.answer, attack.should] for attack in suite])


def training_rows(
    rows: Sequence[LabelledRow], *, seed: int, per_family: int | None = None
) -> list[LabelledRow]:
    """Rows under the *train* templates, with the labels that the attacked text deserves.

    Each family gets `per_family` rows, or as many as it states itself.
    None of the templates is in the test suite. `kind` becomes `attack_<family>`. A row keeps its
    prompt, except that some templates wrap it and that harmless compliance in another language brings a
    question of its own.
    """
    cases = [
        SeedCase(str(index), row.prompt, row.answer, row.label, row.harmful_level, row.principle_index)
        for index, row in enumerate(rows)
    ]
    return [
        LabelledRow(
            prompt=result.prompt,
            answer=result.answer,
            label=result.should,
            harmful_level=case.harmful_level,
            principle_index=case.principle_index,
            method=rows[int(case.case_id)].method,
            kind=f"attack_{family.name}",
        )
        for family in FAMILIES
        for _, case, result in _drawn(
            family, "train", cases, family.train_rows if per_family is None else per_family, seed
        )
    ]


def _drawn(
    family: Family, split: Split, cases: Sequence[SeedCase], count: int, seed: int
) -> list[tuple[Template, SeedCase, Attacked]]:
    """Up to `count` distinct attacks, the templates in turn, the cases in an order drawn from `seed`."""
    queues = [
        _applied(template, cases, seed_from(seed, family.name, template.name))
        for template in family.templates(split)
    ]
    drawn: list[tuple[Template, SeedCase, Attacked]] = []
    seen: set[tuple[str, str]] = set()
    while queues and len(drawn) < count:
        queue = queues.pop(0)
        fresh = next((each for each in queue if (each[2].prompt, each[2].answer) not in seen), None)
        if fresh is None:
            continue  # this template has met all cases
        seen.add((fresh[2].prompt, fresh[2].answer))
        drawn.append(fresh)
        queues.append(queue)
    return drawn


def _applied(
    template: Template, cases: Sequence[SeedCase], seed: int
) -> Iterator[tuple[Template, SeedCase, Attacked]]:
    order = list(range(len(cases)))
    random.Random(seed).shuffle(order)
    for index in order:
        if (result := template.apply(cases[index])) is not None:
            yield template, cases[index], result
