"""How readily a candidate refuses: settled by bisection on held-out prompts, after training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from policies.errors import ConfigurationError, NotEnoughData
from policies.training import dpo, kto
from policies.training.core import Progress, load_policy, run
from policies.training.lean import LEAST_PROMPTS, Lean, LeanSearch, settle
from policies.training.recipe import Recipe, TrainingJob
from policies.training.refusing import first_words
from tests.unit.policies.training.jobs import ROWS, job

ANSWERING = [0.0, 0.125, 0.25, 0.5, 1.0]
REFUSING = [0.0, -0.125, -0.25, -0.375]

# --- which lean -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [0.0, 0.004, 0.04, 0.12, 0.3, 0.5])
@pytest.mark.parametrize("at_end", [0.01, 0.12, 0.3])
def test_search_finds_what_trying_every_lean_finds(at_end: float, target: float) -> None:
    def share(lean: float) -> float:
        """Refuses less and less, and nothing at all in the end."""
        return at_end * math.exp(-3 * lean) if lean < 1 else 0.0

    found = settle(share, target, prompts=100)
    coarse = next(at for at, lean in enumerate(ANSWERING) if share(lean) <= target)
    looked = ANSWERING[: coarse + 1]
    if coarse:  # once more between where it was too much and where it was not
        looked.append((looked[-2] + looked[-1]) / 2)
    assert list(found.tried) == looked, "each costs an answer to all held-out prompts"
    assert found.chosen == min(lean for lean in looked if share(lean) <= target)
    assert found.tried[found.chosen] == share(found.chosen) <= target


@pytest.mark.parametrize("target", [0.05, 0.09, 0.12, 0.5])
@pytest.mark.parametrize("at_end", [0.01, 0.04, 0.06])
def test_what_refuses_too_little_is_moved_as_far_towards_refusing_as_the_target_allows(
    at_end: float, target: float
) -> None:
    def share(lean: float) -> float:
        return at_end * math.exp(-4 * lean)

    found = settle(share, target, prompts=100, least=0.045)
    if at_end > target:
        assert found.chosen > 0
    elif at_end >= 0.045:
        assert (found.chosen, list(found.tried)) == (0.0, [0.0]), "between the two nothing is tried"
    else:
        assert found.chosen == min(lean for lean in REFUSING if share(lean) <= target)
        assert found.to_json()["least_err"] == 0.045
        assert list(found.tried) == REFUSING[: len(found.tried)]
        assert max(found.tried.values()) <= target or found.tried[list(found.tried)[-1]] > target


def test_where_training_ended_within_the_target_nothing_is_tried_or_moved() -> None:
    found = settle(lambda lean: 0.04 - lean, 0.04, prompts=100)
    assert (found.chosen, dict(found.tried)) == (0.0, {0.0: 0.04})


def test_where_nothing_is_within_the_target_the_nearest_of_those_that_refuse_least_is_taken() -> None:
    found = settle(lambda lean: max(0.1, 0.3 - lean), 0.04, prompts=100)
    assert found.chosen == min(lean for lean in found.tried if lean >= 0.2)
    assert found.to_json()["err"] == 0.1 > found.target
    assert settle(lambda _: 0.053, 0.04, prompts=150).chosen == 0.0, "nothing is moved for nothing"


def test_where_the_first_step_towards_refusing_is_too_far_it_stays_at_trainings_end() -> None:
    found = settle(lambda lean: 0.2 if lean else 0.01, 0.09, prompts=100, least=0.06)
    assert (found.chosen, dict(found.tried)) == (0.0, {0.0: 0.01, -0.125: 0.2})


# --- a candidate ------------------------------------------------------------------------------------------


def with_target(
    folder: Path,
    model: Path,
    target: float,
    prompts: int = LEAST_PROMPTS,
    least: float | None = None,
    method: str = "dpo",
) -> TrainingJob:
    made = job(folder, model, method, epochs=6, target_err=target, least_err=least)
    held_out = folder / "held_out.jsonl"
    held_out.write_text("".join(json.dumps({"prompt": f"question {n}?"}) + "\n" for n in range(prompts)))
    return replace(made, held_out_path=str(held_out))


@pytest.mark.parametrize(
    ("target", "least", "shares", "lean"),
    [
        (0.04, None, [0.3, 0.06, 0.02, 0.05], 0.25),
        (0.04, None, [0.3, 0.06, 0.02, 0.04], 0.1875),
        (0.999, None, [0.3], 0.0),
        (0.4, 0.35, [0.3, 0.38, 0.5], -0.125),
    ],
)
@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_candidate_is_left_where_its_card_tells(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    target: float,
    least: float | None,
    shares: list[float],
    lean: float,
) -> None:
    left = iter(shares)

    def refused(*_: Any) -> list[bool]:
        share = next(left)
        return [n < share * LEAST_PROMPTS for n in range(LEAST_PROMPTS)]

    monkeypatch.setattr("policies.training.lean.refuses", refused)
    events: list[dict[str, Any]] = []
    made = with_target(tmp_path, tiny_model, target, least=least, method=method)
    build = {"dpo": dpo.build, "kto": kto.build}[method]
    told = run(made, build, report=events.append)["lean"]
    assert told["chosen"] == lean
    assert told["prompts"] == LEAST_PROMPTS
    assert told["target_err"] == target
    assert {"lean": told["chosen"], "err": told["err"]} in told["tried"]
    tried = [event["lean"] for event in events if event["event"] == "lean"]
    assert tried == [*dict.fromkeys(tried)], "nothing is measured twice"
    assert tried[0] == 0.0
    assert sorted(tried) == [one["lean"] for one in told["tried"]]
    plain = run(job(tmp_path / "plain", tiny_model, method, epochs=6), build, report=lambda _: None)
    assert plain["lean"] is None
    moved = load_file(Path(made.output_dir) / "adapter_model.safetensors")
    ended = load_file(tmp_path / "plain" / "candidate" / "adapter_model.safetensors")
    same = all(torch.equal(moved[name], ended[name]) for name in ended)
    assert same == (told["chosen"] == 0.0), "without a lean, training's very end"


def searching(model: Path, folder: Path, target: float) -> tuple[Any, Any, LeanSearch]:
    """A trained candidate, its tokenizer, and the search that is still to come."""
    made = job(folder, model, "dpo", epochs=6, sft_weight=0.0)
    policy, tokenizer, lora = load_policy(made)
    trainer = dpo.build(
        made, policy, tokenizer, lora, ROWS["dpo"], folder / "scratch", Progress(lambda _event: None)
    )
    harmless = [f"question {n}?" for n in range(LEAST_PROMPTS)]
    search = LeanSearch(trainer, tokenizer, rows=ROWS["dpo"], harmless=harmless, target=target)
    trainer.train()
    return trainer, tokenizer, search


def margins(trainer: Any, harmful: bool) -> float:
    """How much likelier chosen answers to prompts of a kind are than rejected ones, on average."""
    rows = [row for row in trainer.train_dataset if row["harmful"] == harmful]
    with torch.no_grad():
        trainer._metrics["train"].clear()
        trainer.compute_loss(trainer.model, trainer._prepare_inputs(trainer.data_collator(rows)))
    return float(trainer._metrics["train"]["rewards/margins"][-1])


@pytest.mark.parametrize("harmful", [False, True])
def test_what_is_shown_teaches_to_answer_what_is_harmless_or_to_refuse_what_is_harmful(
    tiny_model: Path, tmp_path: Path, harmful: bool
) -> None:
    trainer, _, search = searching(tiny_model, tmp_path, 0.5)
    before = margins(trainer, harmful)
    search._show(harmful=harmful)
    assert margins(trainer, harmful) > before


def test_shares_that_are_told_are_those_of_the_model_at_that_lean(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def back_and_forth(share: Callable[[float], float], target: float, prompts: int, least: float) -> Lean:
        tried = {lean: share(lean) for lean in (0.0, 1.0, 0.5)}
        return Lean(1.0, target, prompts, tried)

    monkeypatch.setattr("policies.training.lean.settle", back_and_forth)
    monkeypatch.setattr("policies.training.lean._RATE", 5.0)  # far enough to be heard from a model this small
    trainer, tokenizer, search = searching(tiny_model, tmp_path, 0.5)
    harmless = [f"question {n}?" for n in range(LEAST_PROMPTS)]

    ended = first_words(trainer.model, tokenizer, harmless)

    def share(letter: str, told: list[str]) -> float:
        return sum(letter in text for text in told) / LEAST_PROMPTS

    letter = min(set("".join(ended)), key=lambda letter: abs(share(letter, ended) - 0.5))
    search._openings = [letter]  # about a half of the answers have it
    found = search.settle(lambda _: None)
    left = first_words(trainer.model, tokenizer, harmless)
    assert found.tried[0.0] == share(letter, ended)
    assert found.tried[1.0] == share(letter, left), "the model is left where it was put"
    assert left != ended, "and that is somewhere else"


def test_too_few_prompts_to_settle_it_on_fail_the_candidate_and_leave_nothing(
    tiny_model: Path, tmp_path: Path
) -> None:
    made = with_target(tmp_path, tiny_model, 0.3, prompts=LEAST_PROMPTS - 1)
    with pytest.raises(NotEnoughData, match=r"49 harmless prompts are held out.*add harmless prompts"):
        run(made, dpo.build, report=lambda _: None)
    assert not Path(made.output_dir).exists()
    with pytest.raises(NotEnoughData, match="0 harmless prompts"):
        run(replace(made, held_out_path=None), dpo.build, report=lambda _: None)


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_a_target_that_means_nothing_is_refused(method: str) -> None:
    with pytest.raises(ConfigurationError, match="share"):
        Recipe(method, target_err=1.0)


@pytest.mark.parametrize(("target", "least"), [(None, 0.05), (0.09, 0.09), (0.09, 0.0), (0.09, 0.1)])
def test_a_least_share_that_leaves_no_room_below_the_target_is_refused(
    target: float | None, least: float
) -> None:
    with pytest.raises(ConfigurationError, match=r"least_err is .* below target_err"):
        Recipe("dpo", target_err=target, least_err=least)
