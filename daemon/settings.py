"""Settings: one YAML file, overridden by environment variables PRIMUM_…; unknown keys are errors.

They stop at the door: only `wiring` and `workshop` see these objects, everything else takes plain arguments.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.environment import PREFIX, unknown_variables
from daemon.schedule import cron
from policies.cares import LEVELS, METHODS
from policies.digests import digest_of
from policies.errors import ConfigurationError

DEFAULT_CONFIG = Path("configs/embedded.yaml")
_HERE = Path(__file__).resolve().parent.parent


def _plain_url(url: str) -> str:
    """The address of a server, which is recorded with each cycle and must hold no secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address as http://host:8000/v1")
    if "@" in parts.netloc or parts.query:
        raise ValueError("must hold neither user, password nor query; api_key_env names the key's variable")
    return url


ServerUrl = Annotated[str, AfterValidator(_plain_url)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelSettings(Section):
    """The deployed model: `name` is embedded:smollm2-135m, a local folder or a hub id."""

    name: str = "embedded:smollm2-135m"
    dtype: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=1)


class EngineSettings(Section):
    """Who answers in a cycle. `openai`: any OpenAI-compatible server, vLLM above all, at `base_url`."""

    kind: Literal["transformers", "openai"] = "transformers"
    base_url: ServerUrl | None = None
    base_model_name: str = "base"
    api_key_env: str = "PRIMUM_ENGINE_API_KEY"
    concurrency: int = Field(default=16, ge=1)
    total_deadline_s: float = Field(default=3600, gt=0)
    server_adapters_dir: str | None = None

    @model_validator(mode="after")
    def _url(self) -> EngineSettings:
        if self.kind == "openai" and not self.base_url:
            raise ValueError("engine.base_url is needed for engine.kind openai")
        return self


class PromptSettings(Section):
    """Where prompts come from and how they are split. `fractions` are of base prompts."""

    source: str = "bank"
    train: float = Field(default=0.5, gt=0, lt=1)
    selection: float = Field(default=0.25, gt=0, lt=1)
    sealed: float = Field(default=0.25, gt=0, lt=1)
    split_seed: int = 1


class SamplingSettings(Section):
    """What one cycle asks. Shares are of the sampled prompts; weights of methods are relative.

    `contrast_tokens` bounds answers under worked examples; None for `max_new_tokens`, as for all others.
    """

    train_prompts: int = Field(default=160, ge=8)
    selection_prompts: int = Field(default=96, ge=8)
    sealed_prompts: int = Field(default=96, ge=8)
    level_shares: dict[int, float] = {0: 0.5, 1: 0.15, 2: 0.17, 3: 0.18}
    train_level_shares: dict[int, float] = {0: 0.68, 1: 0.1, 2: 0.11, 3: 0.11}
    train_hard_benign_share: float = Field(default=0.7, ge=0, le=1)
    hard_benign_share: float = Field(default=0.5, ge=0, le=1)
    method_weights: dict[str, float] = {"direct": 4, "indirect": 2, "role_play": 2, "obfuscate": 1}
    max_new_tokens: int = Field(default=48, ge=1)
    contrast_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    harmless_temperature: float = Field(default=0.7, ge=0)
    top_k: int = Field(default=50, ge=1)
    worked_examples: Path = Path("configs/worked_examples.yaml")
    over_cautious_examples: Path = Path("configs/over_cautious_examples.yaml")

    @model_validator(mode="after")
    def _known(self) -> SamplingSettings:
        for name in ("level_shares", "train_level_shares"):
            if bad := set(getattr(self, name)) - set(LEVELS):
                raise ValueError(f"sampling.{name}: unknown levels {sorted(bad)}")
        if bad_methods := set(self.method_weights) - set(METHODS):
            raise ValueError(f"sampling.method_weights: unknown methods {sorted(bad_methods)}")
        return self


class JudgeSettings(Section):
    """One judge of the registry. Which fields apply depends on `kind`; the others must stay unset."""

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
    members: dict[str, float] = {}
    agreement: float = Field(default=0.6, gt=0, le=1)
    labels: Path | None = None

    @model_validator(mode="after")
    def _complete(self) -> JudgeSettings:
        if self.kind in ("local", "guard") and not self.model:
            raise ValueError(f"a judge of kind {self.kind} needs model")
        if self.kind == "guard" and self.guard_kind is None:
            raise ValueError("a judge of kind guard needs guard_kind (generative or classifier)")
        if self.kind == "panel" and len(self.members) < 2:
            raise ValueError("a judge of kind panel needs at least two members")
        return self


class JudgingSettings(Section):
    """Who judges what, and what a judge must show before it is believed."""

    train: str = "embedded"
    validate_with: str = Field(default="embedded", alias="validate")
    second: str | None = "rules"
    registry: dict[str, JudgeSettings] = {}
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


class RecipeSettings(Section):
    """One candidate to train each cycle; its name is its key."""

    method: Literal["dpo", "kto"]
    epochs: float = Field(default=1.0, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=8, ge=1)
    gradient_accumulation: int = Field(default=1, ge=1)
    beta: float = Field(default=0.1, gt=0)
    sft_weight: float = Field(default=1.0, ge=0)
    desirable_weight: float = Field(default=1.0, gt=0)
    undesirable_weight: float = Field(default=1.0, gt=0)
    lora_rank: int = Field(default=16, ge=1)
    frozen_layers: int = Field(default=0, ge=0)
    lora_alpha: int = Field(default=32, ge=1)
    target_modules: str | tuple[str, ...] = "all-linear"
    max_length: int = Field(default=256, ge=16)
    answer_tokens: int | None = Field(default=None, ge=4)
    warmup_steps: int = Field(default=3, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)


class TrainingSettings(Section):
    candidates: dict[str, RecipeSettings] = {
        "dpo": RecipeSettings(method="dpo"),
        "kto": RecipeSettings(method="kto"),
    }
    max_pairs: int | None = Field(default=None, ge=8)
    max_examples: int | None = Field(default=None, ge=8)
    least: int = Field(default=16, ge=2)
    timeout_s: float = Field(default=7200, gt=0)

    @model_validator(mode="after")
    def _some(self) -> TrainingSettings:
        if not self.candidates:
            raise ValueError("training.candidates must name at least one candidate")
        return self

    @model_validator(mode="after")
    def _room(self) -> TrainingSettings:
        """KTO needs `least` examples of each of its two classes."""
        for name, most, needed in (
            ("max_pairs", self.max_pairs, self.least),
            ("max_examples", self.max_examples, 2 * self.least),
        ):
            if most is not None and most < needed:
                raise ValueError(
                    f"training.{name} is {most}, but training.least = {self.least} asks for {needed}: "
                    f"raise training.{name} to {needed} or more, or lower training.least"
                )
        return self


class RaceSettings(Section):
    """Selection prompts are asked in `looks` parts; who cannot win any more is stopped between them.

    `error` is the chance that the true best is ever stopped. One look is no race.
    """

    looks: int = Field(default=4, ge=1, le=100)
    error: float = Field(default=0.05, gt=0, lt=1)


class ValidationSettings(Section):
    """How candidates are compared; what decides is in the file `gates`.

    With `labelled_prompts` above 0 a cycle is held before its decision until people have labelled the incumbent's
    and the candidate's answers to so many selection prompts.
    """

    race: RaceSettings = RaceSettings()
    labelled_prompts: int = Field(default=0, ge=0)


class ScheduleSettings(Section):
    """When cycles start: a five-field cron line in UTC; `first_at_once` starts one on a fresh database."""

    cron: str = "0 3 * * *"
    first_at_once: bool = True
    poll_s: float = Field(default=1.0, gt=0)

    @field_validator("cron")
    @classmethod
    def _cron_line(cls, line: str) -> str:
        try:
            cron(line)
        except ConfigurationError as error:
            raise ValueError(str(error).removeprefix("schedule.cron: ")) from error
        return line


class WebSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8300, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")


class Settings(BaseSettings):
    """The whole configuration."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, protected_namespaces=()
    )

    data_dir: Path = Path("data")
    database_url: SecretStr | None = None
    seed: int = 20261
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    prompts: PromptSettings = PromptSettings()
    sampling: SamplingSettings = SamplingSettings()
    judging: JudgingSettings
    training: TrainingSettings = TrainingSettings()
    validation: ValidationSettings = ValidationSettings()
    gates: Path = Path("configs/gates.yaml")
    schedule: ScheduleSettings = ScheduleSettings()
    web: WebSettings = WebSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # The environment wins over the file, so that an image with a fixed file can be adjusted.
        return env_settings, init_settings

    @property
    def digest(self) -> str:
        return digest_of(self.public())

    def public(self) -> dict[str, Any]:
        """All settings that are no secret, JSON-ready: what a cycle records of its configuration."""
        return self.model_dump(mode="json", exclude={"database_url", "data_dir"}, by_alias=True)


def find_file(path: Path, *, beside: Path | None = None) -> Path:
    """`path` as given, beside the configuration file's folder, or in the project's own tree."""
    for folder in (Path.cwd(), *([beside.parent, beside.parent.parent] if beside else []), _HERE):
        if (found := folder / path).exists():
            return found
    raise ConfigurationError(f"file {path} does not exist")


def load_settings(config: Path | None = None, *, data_dir: Path | None = None) -> Settings:
    """Settings from a YAML file. ConfigurationError reports every wrong key at once."""
    path = find_file(config or DEFAULT_CONFIG)
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: must be a mapping of settings")
    if data_dir is not None:
        raw["data_dir"] = str(data_dir)
        os.environ.pop("PRIMUM_DATA_DIR", None)  # the command line wins over the environment
    try:
        settings = Settings(**raw)
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_all_errors(error)}") from error
    secrets = [settings.engine.api_key_env, *(one.api_key_env for one in settings.judging.registry.values())]
    if unknown := list(unknown_variables(os.environ, Settings, secrets)):
        raise ConfigurationError("; ".join(unknown))
    sampling = settings.sampling.model_copy(
        update={
            name: find_file(getattr(settings.sampling, name), beside=path)
            for name in ("worked_examples", "over_cautious_examples")
        }
    )
    return settings.model_copy(update={"gates": find_file(settings.gates, beside=path), "sampling": sampling})


def _all_errors(error: ValidationError) -> str:
    parts = []
    for one in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in one["loc"]) or "settings"
        known = "unknown setting" if one["type"] == "extra_forbidden" else str(one["msg"])
        parts.append(f"{where}: {known.removeprefix('Value error, ')}")
    return "; ".join(parts)
