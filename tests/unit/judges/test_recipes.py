"""Recipe files for training judges."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from daemon.settings import load_settings
from judges.recipes import TrainingRecipe, training_recipe
from judges.rubric import Rubric
from judges.shipped import FILES
from judges.training import JudgeRecipe
from policies.errors import ConfigurationError

FOLDER = Path(__file__).parents[3] / "configs" / "judges"
SHIPPED = sorted(FOLDER.glob("*.yaml"), key=lambda path: path.stem)


def test_recipes_for_the_embedded_model_and_for_a_3b_model_ship() -> None:
    assert [path.stem for path in SHIPPED] == ["llama-3.2-3b", "smollm2-135m", "smollm2-135m-tutor"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipe_is_a_judge_recipe(path: Path) -> None:
    recipe = training_recipe(path, {})
    assert JudgeRecipe(**recipe.hyperparameters()).epochs == recipe.epochs
    assert Rubric.load(recipe.rubric).name == recipe.rubric


def test_every_hyperparameter_can_be_set_in_a_file() -> None:
    assert set(TrainingRecipe().hyperparameters()) == {field.name for field in fields(JudgeRecipe)}


@pytest.mark.parametrize(
    ("path", "own"),
    [
        (SHIPPED[1], {"shipped_labels", "label_bias"}),
        (
            SHIPPED[2],
            {"shipped_labels", "label_bias", "seed", "epochs", "lora_rank", "lora_alpha"}
            | {"layers", "frozen_layers"},
        ),
    ],
)
def test_the_embedded_recipes_are_what_no_recipe_means_but_for_what_they_say(
    path: Path, own: set[str]
) -> None:
    plain, recipe = training_recipe(None, {}), training_recipe(path, {})
    assert set(recipe.shipped_labels) <= set(FILES)
    assert recipe.model_dump(exclude=own) == plain.model_dump(exclude=own)


@pytest.mark.parametrize(("recipe", "name"), [(SHIPPED[1], "embedded"), (SHIPPED[2], "tutor")])
def test_shipped_judges_are_used_as_their_recipes_measured_them(recipe: Path, name: str) -> None:
    """Else the calibration that ships is that of another judge, and every installation measures anew."""
    configured, trained = load_settings().judging.registry[name], training_recipe(recipe, {})
    assert (configured.label_bias, configured.layers) == (trained.label_bias, trained.layers)
    assert (configured.adapter, configured.rubric) == (name, trained.rubric)


def test_the_3b_recipe_names_its_base_and_type() -> None:
    recipe = training_recipe(SHIPPED[0], {})
    assert (recipe.base, recipe.dtype) == ("meta-llama/Llama-3.2-3B-Instruct", "bfloat16")


def test_flags_win_over_the_file_and_absent_flags_do_not() -> None:
    recipe = training_recipe(SHIPPED[0], {"epochs": 7, "base": None, "attacks_per_family": 0})
    assert (recipe.epochs, recipe.attacks_per_family) == (7, 0)
    assert recipe.base == "meta-llama/Llama-3.2-3B-Instruct"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epoch: 3\n", "epoch: .*known are .*epochs"),
        ("learning_rate: fast\n", "learning_rate"),
        ("learning_rate: -1\n", "learning_rate"),
        ("dtype: int4\n", "dtype"),
        ("- epochs\n", "key: value"),
        ("epochs: [\n", "not YAML"),
    ],
)
def test_a_faulty_recipe_is_named_with_its_key(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=rf"mine\.yaml.*{named}"):
        training_recipe(path, {})


def test_a_flag_out_of_range_is_named() -> None:
    with pytest.raises(ConfigurationError, match="learning_rate"):
        training_recipe(None, {"learning_rate": 5.0})
