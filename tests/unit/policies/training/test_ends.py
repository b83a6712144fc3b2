"""An answer that the token limit cut is trained on without an end; others end as the chat template says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from policies.engines.models import load_base
from policies.errors import TrainingError
from policies.training.ends import turn_end, without_end
from policies.training.shared_prefixes import parting
from tests.tiny import CHATML, END, PAD, START, make_tokenizer
from tests.unit.policies.training.jobs import ROWS, job
from tests.unit.policies.training.test_reference import trainer_of


def test_what_the_template_puts_after_an_answer_is_left_out() -> None:
    assert without_end([5, 6, 2, 9], [2, 9]) == [5, 6]
    assert without_end([5, 2, 9, 6, 2, 9], [2, 9]) == [5, 2, 9, 6], "an end within the answer is the answer's"
    assert without_end([5, 6], []) == [5, 6]


def test_another_end_is_an_error_and_no_guess() -> None:
    with pytest.raises(TrainingError, match="max_new_tokens"):
        without_end([5, 6, 1], [2, 9])


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, [END]),
        (CHATML.replace(END, END + PAD), [END, PAD]),
        ("{% for message in messages %}{{ message['content'] }}{% endfor %}", []),
    ],
)
def test_the_end_is_read_off_the_chat_template(template: str, end: list[str]) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    found = tokenizer.convert_ids_to_tokens(turn_end(tokenizer))
    assert [token for token in found if token in (END, PAD, START)] == end


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


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_of_a_long_answer_only_the_first_tokens_are_learnt_from_and_it_stays_open(
    tiny_model: Path, tmp_path: Path, method: str
) -> None:
    columns = {"dpo": ("chosen_ids", "rejected_ids"), "kto": ("completion_ids",)}[method]
    (tmp_path / "whole").mkdir()
    whole = trainer_of(job(tmp_path / "whole", tiny_model, method, epochs=2), tmp_path / "whole")
    first = trainer_of(job(tmp_path, tiny_model, method, epochs=2, answer_tokens=4), tmp_path)
    _, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    end, shortened = turn_end(tokenizer), 0
    for long, short in zip(whole.train_dataset, first.train_dataset, strict=True):
        for column in columns:
            ended = long[column][-len(end) :] == end
            body = len(long[column]) - (len(end) if ended else 0)
            assert short[column] == (long[column] if body <= 4 else long[column][:4])
            shortened += body > 4
    assert shortened, "no answer was longer"


@pytest.mark.parametrize("method", ["dpo", "kto"])
@pytest.mark.parametrize(("share", "kept"), [(0.25, {3, 7}), (0.5, {1, 3, 5, 7}), (1.0, set(range(8)))])
def test_a_share_of_the_answers_is_learnt_from_to_the_end(
    tiny_model: Path, tmp_path: Path, method: str, share: float, kept: set[int]
) -> None:
    columns = {"dpo": ("chosen_ids", "rejected_ids"), "kto": ("completion_ids",)}[method]

    def rows(name: str, **recipe: Any) -> list[dict[str, Any]]:
        (tmp_path / name).mkdir()
        trainer = trainer_of(job(tmp_path / name, tiny_model, method, epochs=2, **recipe), tmp_path / name)
        return list(trainer.train_dataset)[:8]

    whole, cut = rows("whole"), rows("cut", answer_tokens=4)
    for index, row in enumerate(rows("mixed", answer_tokens=4, whole_share=share)):
        expected = whole if index in kept else cut
        assert [row[column] for column in columns] == [expected[index][column] for column in columns]
    for column in columns:
        assert any(len(one[column]) > len(other[column]) for one, other in zip(whole, cut, strict=True))


@pytest.mark.parametrize("decision", [1, 3])
def test_the_first_tokens_alone_are_contrasted_and_the_whole_chosen_answer_is_learnt(
    tiny_model: Path, tmp_path: Path, decision: int
) -> None:
    whole = trainer_of(job(tmp_path / "whole", tiny_model, "dpo", epochs=1), tmp_path / "whole")
    first = trainer_of(job(tmp_path, tiny_model, "dpo", epochs=1, decision_tokens=decision), tmp_path)
    assert first.train_dataset["chosen_ids"] == whole.train_dataset["chosen_ids"]
    pairs = zip(first.train_dataset["chosen_ids"], whole.train_dataset["rejected_ids"], strict=True)
    contrasted = [parting(*pair) + decision for pair in pairs]
    assert [len(ids) for ids in first.train_dataset["rejected_ids"]] == contrasted

    batch = first.data_collator([first.train_dataset[n] for n in range(4)])
    told = first.model(**{name: batch[name] for name in ("input_ids", "attention_mask")}).logits
    likely = told[:, :-1].log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None]).squeeze(-1)
    answer = batch["completion_mask"][:, 1:].bool()
    decided = answer & (answer.cumsum(1) <= torch.tensor(contrasted[:4] * 2)[:, None])
    chosen, rejected = first.compute_ref_log_probs(
        first.model, {name: value for name, value in batch.items() if not name.startswith("ref_")}
    )
    # A fresh LoRA changes nothing, so the policy's own log-probabilities are the reference's.
    assert torch.allclose((likely * decided).sum(1), torch.cat([chosen, rejected]), atol=1e-4)
    loss = first.compute_loss(first.model, batch)
    nll = -likely[:4][answer[:4]].mean()
    assert torch.isclose(loss, math.log(2) + first.args.loss_weights[1] * nll, atol=1e-4)


@pytest.mark.parametrize(
    ("chosen", "rejected", "at"),
    [([5, 1, 2], [6, 1, 2], 0), ([5, 1, 2], [5, 1, 7], 2), ([5], [5, 1], 1), ([5, 1], [5], 1), ([], [5], 0)],
)
def test_answers_part_at_their_first_token_that_differs(
    chosen: list[int], rejected: list[int], at: int
) -> None:
    assert parting(chosen, rejected) == at
