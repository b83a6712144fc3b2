"""Settings: one YAML file, overridden by environment variables PRIMUM_…; unknown keys are errors.

They stop at the door: only `wiring` and `workshop` see these objects, everything else takes plain arguments.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from daemon.environment import PREFIX, unknown_variables, variable_of
from daemon.settings.judging import JudgeSettings, JudgingSettings
from daemon.settings.sections import (
    EngineSettings,
    ModelSettings,
    PromptSettings,
    SamplingSettings,
    ScheduleSettings,
    WebSettings,
)
from daemon.settings.training import TrainingSettings, ValidationSettings
from policies.digests import digest_of
from policies.errors import ConfigurationError

__all__ = ["DEFAULT_CONFIG", "JudgeSettings", "Settings", "find_file", "load_settings"]

DEFAULT_CONFIG = Path("configs/embedded.yaml")
_HERE = Path(__file__).resolve().parents[2]


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

    @model_validator(mode="after")
    def _pairs_for_all(self) -> Settings:
        if self.sampling.contrast_prompts is not None and not self.training.borrow_refusals:
            raise ValueError(
                "sampling.contrast_prompts leaves the other prompts without a refusal to be paired with: "
                "set training.borrow_refusals, or leave contrast_prompts out"
            )
        return self

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
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: must be a mapping of settings")
    if data_dir is not None:
        raw["data_dir"] = str(data_dir)
        os.environ.pop("PRIMUM_DATA_DIR", None)  # the command line wins over the environment
    if "database_url" in raw:
        raise ConfigurationError(
            f"{path}: database_url may hold a password and comes from the environment alone: export "
            "PRIMUM_DATABASE_URL, and take it out of the file"
        )
    try:
        settings = Settings(**raw)
    except ValidationError as error:
        wrong = _all_errors(error, path)
        # Which variables hold keys is not known before the settings are.
        named = (name for name in os.environ if not name.upper().endswith("_KEY"))
        unknown = unknown_variables({name: os.environ[name] for name in named}, Settings, ())
        raise ConfigurationError("; ".join([*wrong, *unknown])) from error
    secrets = [settings.engine.api_key_env, *(one.api_key_env for one in settings.judging.registry.values())]
    if unknown := unknown_variables(os.environ, Settings, secrets):
        raise ConfigurationError("; ".join(unknown))
    sampling = settings.sampling.model_copy(
        update={
            name: find_file(getattr(settings.sampling, name), beside=path)
            for name in ("worked_examples", "over_cautious_examples")
        }
    )
    return settings.model_copy(update={"gates": find_file(settings.gates, beside=path), "sampling": sampling})


def _all_errors(error: ValidationError, path: Path) -> list[str]:
    """A sentence for each, with the variable that said it, or else the file."""
    of_file, of_variables = [], []
    for one in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in one["loc"]) or "settings"
        known = "unknown setting" if one["type"] == "extra_forbidden" else str(one["msg"])
        told = f"{where}: {known.removeprefix('Value error, ')}"
        if variable := variable_of(one["loc"], os.environ):
            of_variables.append(f"environment variable {variable}: {told}")
        else:
            of_file.append(told)
    return [*([f"{path}: {'; '.join(of_file)}"] if of_file else []), *of_variables]
