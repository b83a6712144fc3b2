"""What the settings of training say reaches the plan of a cycle."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from daemon.cycle.planning import make_plan
from daemon.settings import load_settings
from policies.errors import ConfigurationError

CONFIGS = Path(__file__).parents[4] / "configs"


def write(folder: Path, *, count: int = 64, **training: object) -> Path:
    """The shipped configuration over a few prompts of its own, with `training` changed."""
    prompts = folder / "prompts.jsonl"
    # Words of their own each: prompts that are nearly alike would be one.
    rows = [
        {"prompt": " ".join(f"word{n}x{k}" for k in range(8)), "harmful_level": n % 4} for n in range(count)
    ]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    body = yaml.safe_load((CONFIGS / "embedded.yaml").read_text())
    body["prompts"] |= {"source": str(prompts)}
    body["training"] |= training
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(body))
    return path


def test_what_is_set_for_pairs_is_what_a_cycle_goes_by(tmp_path: Path) -> None:
    changed = {"harmful_ratio": 1.25, "max_pairs": 32, "replay_cycles": 2, "prefer_refusals": False}
    changed["settle_for_caution"] = True
    plan = make_plan(load_settings(write(tmp_path, **changed), data_dir=tmp_path), cycle_seed=1)
    found = {
        "harmful_ratio": plan.harmful_ratio,
        "max_pairs": plan.max_pairs,
        "replay_cycles": plan.replay_cycles,
        "prefer_refusals": plan.sampling.prefer_refusals,
        "settle_for_caution": plan.sampling.settle_for_caution,
    }
    assert found == changed


@pytest.mark.parametrize("ratio", [0, -1, 4.5, "many"])
def test_a_ratio_that_means_nothing_is_refused_by_name(tmp_path: Path, ratio: object) -> None:
    with pytest.raises(ConfigurationError, match=r"training\.harmful_ratio"):
        load_settings(write(tmp_path, harmful_ratio=ratio))


def test_harmless_prompts_are_held_out_where_a_candidate_needs_them_and_only_there(tmp_path: Path) -> None:
    def held_out(target: float | None) -> int:
        candidates = {"dpo": {"method": "dpo", "target_err": target}, "kto": {"method": "kto"}}
        path = write(tmp_path, count=640, candidates=candidates, held_out_prompts=50)
        plan = make_plan(load_settings(path, data_dir=tmp_path), cycle_seed=1)
        return len(plan.questions.held_out)

    assert held_out(0.05) == 50
    assert held_out(None) == 0


def test_too_few_prompts_to_settle_a_lean_on_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"training\.held_out_prompts"):
        load_settings(write(tmp_path, held_out_prompts=49))
