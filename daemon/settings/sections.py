"""What every section of the settings is made of, and the small sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from daemon.schedule import cron
from policies.cares import LEVELS, METHODS
from policies.errors import ConfigurationError
from policies.sampling import check_weights

_METHOD_WEIGHTS = ("method_weights", "harmless_method_weights", "harmful_method_weights")


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
    """The deployed model: `name` is embedded:smollm2-135m, a local folder or a hub id.

    `share_heads`: a cycle's engine attends once for a whole batch to what all its conversations begin with,
    on a CPU; answers differ by rounding from those without it.
    """

    name: str = "embedded:smollm2-135m"
    dtype: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=64, ge=1)
    share_heads: bool = False


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

    @model_validator(mode="after")
    def _whole(self) -> PromptSettings:
        if abs(self.train + self.selection + self.sealed - 1) > 1e-6:
            raise ValueError(
                f"train, selection and sealed are shares of all base prompts and make "
                f"{self.train + self.selection + self.sealed:g} together; they must make 1"
            )
        return self


class SamplingSettings(Section):
    """What one cycle asks. Shares are of the sampled prompts; weights of methods are relative.

    Train prompts are asked by `harmless_method_weights` and `harmful_method_weights` (None for
    `method_weights`): a harmless rewrite is less often answered well, and where hardly any gives a pair, the
    rewrite itself is soon refused.

    A harmless prompt is asked plainly up to `harmless_tries` times, until an answer is accepted. Answers are
    at most `max_new_tokens` long; those that are trained on may be kept shorter: by `plain_tokens` plain
    ones, by `plain_harmful_tokens` (None for `plain_tokens`) those to harmful prompts, by `contrast_tokens`
    those under worked examples, and by `over_cautious_tokens` (None for `contrast_tokens`) the refusals of
    harmless prompts, which are only rejected.

    Under worked examples at most `contrast_prompts` harmful and as many harmless prompts are asked (None for
    all that need it); to the others `training.borrow_refusals` lends what was said there.
    """

    train_prompts: int = Field(default=160, ge=8)
    selection_prompts: int = Field(default=96, ge=8)
    sealed_prompts: int = Field(default=96, ge=8)
    level_shares: dict[int, float] = {0: 0.5, 1: 0.15, 2: 0.17, 3: 0.18}
    train_level_shares: dict[int, float] = {0: 0.68, 1: 0.1, 2: 0.11, 3: 0.11}
    train_hard_benign_share: float = Field(default=0.7, ge=0, le=1)
    hard_benign_share: float = Field(default=0.5, ge=0, le=1)
    method_weights: dict[str, float] = {"direct": 4, "indirect": 2, "role_play": 2, "obfuscate": 1}
    harmless_method_weights: dict[str, float] | None = None
    harmful_method_weights: dict[str, float] | None = None
    max_new_tokens: int = Field(default=48, ge=1)
    plain_tokens: int | None = Field(default=None, ge=1)
    plain_harmful_tokens: int | None = Field(default=None, ge=1)
    contrast_prompts: int | None = Field(default=None, ge=16)
    contrast_tokens: int | None = Field(default=None, ge=1)
    over_cautious_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    harmless_temperature: float = Field(default=0.7, ge=0)
    harmless_tries: int = Field(default=1, ge=1, le=8)
    top_k: int = Field(default=50, ge=1)
    worked_examples: Path = Path("configs/worked_examples.yaml")
    over_cautious_examples: Path = Path("configs/over_cautious_examples.yaml")

    @model_validator(mode="after")
    def _known(self) -> SamplingSettings:
        for name in ("level_shares", "train_level_shares"):
            if bad := set(getattr(self, name)) - set(LEVELS):
                raise ValueError(f"sampling.{name}: unknown levels {sorted(bad)}")
        for name in _METHOD_WEIGHTS:
            if bad_methods := set(getattr(self, name) or {}) - set(METHODS):
                raise ValueError(f"sampling.{name}: unknown methods {sorted(bad_methods)}")
        try:
            for name in ("level_shares", "train_level_shares", *_METHOD_WEIGHTS):
                known = METHODS if name in _METHOD_WEIGHTS else LEVELS
                check_weights(f"sampling.{name}:", getattr(self, name), known)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return self


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
