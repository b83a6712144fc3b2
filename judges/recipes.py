"""Recipe files of `primum judge train`: what is trained on which base, with which hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from judges.shipped import DEVELOPMENT, FILES, HELD_OUT
from policies.cares import Label
from policies.errors import ConfigurationError

_NOT_HYPERPARAMETERS = {"base", "dtype", "rubric", "attacks_per_family", "shipped_labels", "label_bias"}


class TrainingRecipe(BaseModel):
    """One recipe. Every key but the first six is one of `judges.training.JudgeRecipe`, with its bounds.

    `base` is `embedded:smollm2-135m`, a folder or a hub id; `attacks_per_family` counts attacked training
    rows of each family, where None leaves each family its own number and 0 is none; `shipped_labels` names
    the files of judges/data to train on where no other data is given; with `label_bias` the new judge is
    measured, as it is to be used. The defaults are those of configs/judges/smollm2-135m.yaml.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str = Field(default="embedded:smollm2-135m", min_length=1)
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    rubric: str = Field(default="compact", min_length=1)
    attacks_per_family: int | None = Field(default=None, ge=0)
    shipped_labels: tuple[str, ...] = FILES
    label_bias: dict[Label, float] = {}
    epochs: int = Field(default=3, ge=1)
    patience: int = Field(default=2, ge=0)
    learning_rate: float = Field(default=6e-4, gt=0, lt=1)
    batch_size: int = Field(default=16, ge=1)
    batch_tokens: int = Field(default=2400, ge=64)
    lora_rank: int = Field(default=16, ge=1)
    lora_alpha: int = Field(default=32, ge=1)
    frozen_layers: int = Field(default=10, ge=0)
    layers: int | None = Field(default=None, ge=1)
    held_out: float = Field(default=HELD_OUT, gt=0, lt=1)
    development: float = Field(default=DEVELOPMENT, gt=0, lt=1)
    seed: int = Field(default=0, ge=0)

    def hyperparameters(self) -> dict[str, Any]:
        """Arguments for `JudgeRecipe`."""
        return self.model_dump(exclude=_NOT_HYPERPARAMETERS)


def training_recipe(path: Path | None, flags: Mapping[str, Any]) -> TrainingRecipe:
    """The recipe of a YAML file, or of defaults where there is none, under the flags that are not None.

    ConfigurationError names the file and the key.
    """
    given = {key: value for key, value in flags.items() if value is not None}
    try:
        return TrainingRecipe.model_validate({**(_read(path) if path else {}), **given})
    except ValidationError as problem:
        first = problem.errors()[0]
        key = ".".join(map(str, first["loc"]))
        unknown = first["type"] == "extra_forbidden"
        known = f"; known are {', '.join(TrainingRecipe.model_fields)}" if unknown else ""
        where = f"recipe {path}" if path else "judge training"
        raise ConfigurationError(f"{where}: {key}: {first['msg']}{known}") from problem


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigurationError(f"recipe {path}: cannot be read; check the path") from problem
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f" (line {mark.line + 1})" if mark else ""
        raise ConfigurationError(f"recipe {path}: is not YAML{line}") from problem
    if not isinstance(content, dict):
        raise ConfigurationError(f"recipe {path}: must hold lines of key: value")
    return content
