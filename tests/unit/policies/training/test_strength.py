"""A candidate's strength: found by bisection, measured as the plain model measures it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from policies.engines.models import load_base
from policies.errors import ConfigurationError, NotEnoughData
from policies.training.core import run
from policies.training.dpo import build
from policies.training.recipe import Recipe, TrainingJob
from policies.training.shared_prefixes import share_prefixes
from policies.training.strength import (
    LEAST_PROMPTS,
    STRENGTHS,
    Line,
    StrengthSearch,
    begins_refusing,
    largest_within,
    refusal_openings,
)
from tests.unit.policies.training.jobs import job

PROMPTS = [f"question {n}?" for n in range(LEAST_PROMPTS)]


class Words:
    """A tokenizer whose tokens are words."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [self._known.setdefault(word, len(self._known)) for word in text.split()]}

    def ids(self, text: str) -> tuple[int, ...]:
        return tuple(self(text, add_special_tokens=False)["input_ids"])


def refusals(*texts: str) -> list[dict[str, Any]]:
    return [{"chosen": text, "harmful": True} for text in texts]


# --- which strength ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0.0, 0.04, 0.09, 0.2, 0.5, 1.0])
def test_search_finds_what_trying_every_strength_finds(target: float) -> None:
    def share(strength: float) -> float:
        return max(0.0, strength - 0.7) ** 2

    found = largest_within(share, target, prompts=100)
    within = [strength for strength in STRENGTHS if share(strength) <= target]
    assert found.chosen == max(within)
    assert found.tried[found.chosen] == share(found.chosen) <= target
    weaker = sum(strength < 1 for strength in STRENGTHS)
    if found.chosen < 1:
        assert len(found.tried) <= 1 + math.ceil(math.log2(weaker + 1))
    else:
        assert min(found.tried) == 1


def test_where_every_strength_refuses_too_much_the_one_that_refuses_least_is_taken_and_said_so() -> None:
    found = largest_within(lambda strength: 0.1 + strength / 5, 0.04, prompts=100)
    assert found.chosen == min(STRENGTHS)
    assert found.to_json()["err"] == 0.1 + min(STRENGTHS) / 5 > found.target


def test_a_candidate_is_not_weakened_where_that_spares_no_harmless_prompt() -> None:
    found = largest_within(lambda _: 0.053, 0.04, prompts=150)  # seen: 8 of 150 from 0.5 to 1
    assert found.chosen == 1.0
    assert found.to_json()["err"] == 0.053 > found.target


def test_a_share_that_falls_again_beyond_is_not_believed() -> None:
    shares = {strength: (0.1 if strength == 1.05 else 0.0) for strength in STRENGTHS}
    found = largest_within(shares.__getitem__, 0.05, prompts=100)
    assert found.chosen == 1.0
    assert max(found.tried) == 1.05


def test_what_training_ended_with_is_among_the_strengths() -> None:
    assert 1.0 in STRENGTHS


# --- how refusals begin -----------------------------------------------------------------------------------


def test_openings_are_the_common_beginnings_of_refusals_and_of_nothing_else() -> None:
    words = Words()
    rows = [
        *refusals(*["I am sorry, but no."] * 60, *["No, I cannot help."] * 39, "Rarely said like this."),
        {"chosen": "Vaccines are safe and tested.", "harmful": False},
    ]
    assert set(refusal_openings(rows, words)) == {words.ids("I am sorry,"), words.ids("No, I cannot")}


def test_an_opening_that_begins_another_counts_once() -> None:
    words = Words()
    rows = refusals(*["No."] * 5, *["No. I cannot help."] * 5)
    assert refusal_openings(rows, words) == [words.ids("No.")]


def test_refusals_that_all_begin_otherwise_are_refused() -> None:
    rows = refusals(*(f"{n} {n} {n} says no" for n in range(100)))
    with pytest.raises(NotEnoughData, match="too many ways"):
        refusal_openings(rows, Words())


def test_no_refusal_at_all_is_refused() -> None:
    with pytest.raises(NotEnoughData, match="no pair on a harmful prompt"):
        refusal_openings([{"chosen": "Vaccines are safe.", "harmful": False}], Words())


@pytest.mark.parametrize("packed", [False, True])
def test_a_refusal_is_begun_where_the_plain_model_goes_that_way_token_by_token(
    tiny_model: Path, packed: bool
) -> None:
    model, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    prompts = ["Is this safe?", "How do vaccines work, and for how long do they last?"]
    prompts += [f"question {n}?" for n in range(30)]  # two batches
    greedy = []
    for prompt in prompts:
        ids = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        told: list[int] = []
        for _ in range(3):
            with torch.no_grad():
                told.append(int(model(torch.tensor([ids + told])).logits[0, -1].argmax()))
        greedy.append(tuple(told))
    one, other = greedy[0], greedy[1]
    openings = [one, other[:1], (*greedy[2][:2], greedy[2][2] + 1)]
    expected = [any(told[: len(opening)] == opening for opening in openings) for told in greedy]
    assert 2 <= sum(expected) < len(prompts), "both kinds must occur"
    if packed:
        assert share_prefixes(model)
    assert begins_refusing(model, tokenizer, prompts, openings).tolist() == expected


# --- the line of weights ----------------------------------------------------------------------------------


def linear() -> torch.nn.Linear:
    layer = torch.nn.Linear(2, 1)
    layer.bias.requires_grad_(False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 2.0]]))
        layer.bias.fill_(5.0)
    return layer


def test_line_goes_from_start_to_end_and_beyond_and_back_to_the_very_end() -> None:
    layer = linear()
    line = Line(layer)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, 1.9]]))
    end = layer.weight.clone()
    line.ends_here()
    for strength, expected in ((0.5, [2.0, 1.95]), (0.0, [1.0, 2.0]), (1.5, [4.0, 1.85])):
        line.move_to(strength)
        assert layer.weight[0].tolist() == pytest.approx(expected)
    line.move_to(1)
    assert torch.equal(layer.weight, end)
    assert layer.bias.item() == 5.0, "what is not trained does not move"


# --- a candidate ------------------------------------------------------------------------------------------


def with_strength(folder: Path, model: Path, target: float, prompts: int = LEAST_PROMPTS) -> TrainingJob:
    made = job(folder, model, "dpo", epochs=6, target_err=target)
    held_out = folder / "held_out.jsonl"
    held_out.write_text("".join(json.dumps({"prompt": f"question {n}?"}) + "\n" for n in range(prompts)))
    return replace(made, held_out_path=str(held_out))


def test_candidate_is_left_at_the_strength_that_its_card_tells(tiny_model: Path, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    made = with_strength(tmp_path, tiny_model, 0.3)
    card = run(made, build, report=events.append)
    told = card["strength"]
    assert told["prompts"] == LEAST_PROMPTS
    assert told["target_err"] == 0.3
    assert {"strength": told["chosen"], "err": told["err"]} in told["tried"]
    assert [event["strength"] for event in events if event["event"] == "strength"] == [
        *dict.fromkeys(event["strength"] for event in events if event["event"] == "strength")
    ], "nothing is measured twice"
    plain = run(replace(job(tmp_path / "plain", tiny_model, "dpo", epochs=6), seed=made.seed), build)
    assert plain["strength"] is None
    moved = load_file(Path(made.output_dir) / "adapter_model.safetensors")
    ended = load_file(tmp_path / "plain" / "candidate" / "adapter_model.safetensors")
    for name, weights in moved.items():
        if "lora_B" in name:  # begins at 0, so that the strength is a factor
            assert torch.allclose(weights, told["chosen"] * ended[name], rtol=1e-4, atol=1e-6)


def test_shares_that_are_told_are_those_of_the_model_at_that_strength(tiny_model: Path) -> None:
    model, tokenizer = load_base(tiny_model, dtype="float32", device="cpu")
    for weight in model.parameters():
        weight.requires_grad_(True)
    rows = [{"chosen": tokenizer.decode([7]), "harmful": True}] * 3
    search = StrengthSearch(model, tokenizer, rows=rows, harmless=PROMPTS, target=0.5)
    torch.manual_seed(3)
    with torch.no_grad():  # towards one token, whatever is asked
        head = model.get_output_embeddings().weight
        head[7] += 3 * torch.randn_like(head[7])
    found = search.settle(lambda _: None)
    openings = refusal_openings(rows, tokenizer)
    now = begins_refusing(model, tokenizer, PROMPTS, openings).float().mean()
    assert found.tried[found.chosen] == pytest.approx(float(now))


def test_too_few_prompts_to_set_it_on_fail_the_candidate_and_leave_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    made = with_strength(tmp_path, tiny_model, 0.3, prompts=LEAST_PROMPTS - 1)
    with pytest.raises(NotEnoughData, match=r"49 harmless prompts are held out.*add harmless prompts"):
        run(made, build, report=lambda _: None)
    assert not Path(made.output_dir).exists()
    with pytest.raises(NotEnoughData, match="0 harmless prompts"):
        run(replace(made, held_out_path=None), build, report=lambda _: None)


@pytest.mark.parametrize(
    ("method", "share", "reason"), [("kto", 0.1, "belongs to dpo"), ("dpo", 1.0, "share")]
)
def test_a_target_that_means_nothing_is_refused(method: str, share: float, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        Recipe(method, target_err=share)
