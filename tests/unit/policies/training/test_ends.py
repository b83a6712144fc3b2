"""An answer that the token limit cut is trained on without an end; others end as the chat template says."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.engines.models import load_base
from policies.training.ends import without_end
from tests.unit.policies.training.jobs import ROWS, job
from tests.unit.policies.training.test_reference import trainer_of


def test_everything_from_the_last_end_on_is_left_out() -> None:
    assert without_end([5, 2, 6, 2, 9], 2) == [5, 2, 6]
    assert without_end([5, 6], 2) == [5, 6]
    assert without_end([2], 2) == [2], "an answer of nothing but an end keeps it"
    assert without_end([5, 6], None) == [5, 6]


@pytest.mark.parametrize(
    ("method", "columns"),
    [
        ("dpo", {"chosen_ids": ("chosen", "chosen_cut"), "rejected_ids": ("rejected", "rejected_cut")}),
        ("kto", {"completion_ids": ("completion", "cut")}),
    ],
)
def test_cut_answers_have_no_end_and_the_others_have_one(
    tiny_model: Path, tmp_path: Path, method: str, columns: dict[str, tuple[str, str]]
) -> None:
    trainer = trainer_of(job(tmp_path, tiny_model, method, epochs=2), tmp_path)
    _, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    told = {row["prompt"]: row for row in ROWS[method]}
    found: list[bool] = []
    for row in trainer.train_dataset:
        asked = tokenizer.decode(row["prompt_ids"])
        source = next(one for prompt, one in told.items() if prompt in asked)
        for tokens, (text, flag) in columns.items():
            assert source[text] in tokenizer.decode(row[tokens])
            assert (tokenizer.eos_token_id in row[tokens]) is not source[flag]
            found.append(source[flag])
    assert len(set(found)) == 2, "both kinds must occur"
