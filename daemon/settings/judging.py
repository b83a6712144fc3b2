"""Who judges, and what a judge must show before it is believed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from daemon.settings.sections import Section, ServerUrl
from policies.cares import Label

# Of each field the kinds of judges that it says something to; elsewhere it would be set and mean nothing.
_FIELDS_OF = {
    "rubric": ("local", "self", "openai"),
    "model": ("local", "openai", "guard"),
    "adapter": ("local", "self"),
    "dtype": ("local", "self"),
    "batch_size": ("local", "self", "guard"),
    "base_url": ("openai",),
    "api_key_env": ("openai",),
    "concurrency": ("openai",),
    "cap_usd": ("openai",),
    "total_deadline_s": ("openai",),
    "guard_kind": ("guard",),
    "revision": ("guard",),
    "members": ("panel",),
    "agreement": ("panel",),
    "labels": ("human",),
    "label_bias": ("local",),
    "layers": ("local",),
}


class JudgeSettings(Section):
    """One judge of the registry. Which fields apply depends on `kind`; the others must stay unset.

    `revision`: the commit of a guard's model on the hub; a folder needs none.
    """

    kind: Literal["local", "self", "openai", "guard", "human", "panel", "rules"]
    rubric: str = "blind"
    model: str | None = None
    adapter: str | None = None
    dtype: str = "auto"
    batch_size: int = Field(default=32, ge=1)
    base_url: ServerUrl | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = Field(default=8, ge=1)
    cap_usd: float | None = Field(default=None, ge=0)
    total_deadline_s: float = Field(default=3600, gt=0)
    guard_kind: Literal["generative", "classifier"] | None = None
    revision: str | None = None
    members: dict[str, float] = Field(default_factory=dict)
    agreement: float = Field(default=0.6, gt=0, le=1)
    labels: Path | None = None
    label_bias: dict[Label, float] = Field(default_factory=dict)
    layers: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _complete(self) -> JudgeSettings:
        if self.kind in ("local", "guard") and not self.model:
            raise ValueError(f"a judge of kind {self.kind} needs model")
        if self.kind == "guard" and self.guard_kind is None:
            raise ValueError("a judge of kind guard needs guard_kind (generative or classifier)")
        if self.kind == "panel" and len(self.members) < 2:
            raise ValueError("a judge of kind panel needs at least two members")
        for name, kinds in _FIELDS_OF.items():
            unset = type(self).model_fields[name].get_default(call_default_factory=True)
            if self.kind not in kinds and getattr(self, name) != unset:
                raise ValueError(f"{name} is for judges of kind {' or '.join(kinds)}; leave it out")
        if not all(map(math.isfinite, self.label_bias.values())):
            raise ValueError("label_bias must be finite numbers, added to the labels' logits")
        return self


class JudgingSettings(Section):
    """Who judges what, and what a judge must show before it is believed."""

    train: str = "embedded"
    validate_with: str = Field(default="embedded", alias="validate")
    second: str | None = "rules"
    registry: dict[str, JudgeSettings] = Field(default_factory=dict)
    train_kappa: float = Field(default=0.6, ge=-1, le=1)
    validate_kappa: float = Field(default=0.7, ge=-1, le=1)
    max_age_days: float = Field(default=90, gt=0)
    max_unscored: float = Field(default=0.05, ge=0, le=1)
    calibrate_automatically: bool = False
    calibration_labels: Path | None = None
    sentinel_alpha: float = Field(default=0.001, gt=0, lt=1)

    @model_validator(mode="after")
    def _registered(self) -> JudgingSettings:
        asked = {
            "judging.train": self.train,
            "judging.validate": self.validate_with,
            "judging.second": self.second,
        }
        for key, name in asked.items():
            if name is not None and name not in self.registry:
                raise ValueError(
                    f"{key}: no judge {name!r} in judging.registry ({', '.join(self.registry) or 'empty'})"
                )
        for name, judge in self.registry.items():
            if unknown := set(judge.members) - set(self.registry):
                raise ValueError(f"judging.registry.{name}.members: unknown judges {sorted(unknown)}")
        return self
