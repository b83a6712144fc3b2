"""Where heavy objects are made: engines and judges. Only worker processes and one-off commands import this.

The daemon itself imports no torch; an import contract holds that.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from daemon.paths import Paths
from daemon.settings import JudgeSettings, Settings
from daemon.store.store import Store
from judges.base import Judge
from judges.calibration.report import CalibrationReport
from judges.guard import GuardJudge
from judges.human import HumanJudge
from judges.labels import read_labels
from judges.ledger import read_prices
from judges.local import LocalJudge
from judges.panel import Member, PanelJudge
from judges.rubric import Rubric
from judges.rules import RulesJudge
from policies.engines.base import Engine
from policies.engines.models import model_digest, pick_device, resolve_model
from policies.engines.openai_server import OpenAIEngine
from policies.engines.transformers_engine import TransformersEngine
from policies.errors import ConfigurationError, DataError
from policies.records import Policy

if TYPE_CHECKING:
    from judges.openai import OpenAIJudge

REPORT_FILE = "calibration.json"  # beside a judge's adapter
SHIPPED_ADAPTERS = Path(__file__).resolve().parent.parent / "judges" / "adapters"


class Workshop:
    """Makes engines and judges from settings, each once; `put_away` frees their memory.

    With `cycle_id` a judge's cap in dollars is for that cycle, however often its process is started.
    """

    def __init__(
        self, *, settings: Settings, paths: Paths, store: Store, cycle_id: int | None = None
    ) -> None:
        self._settings, self._paths, self._store, self._cycle_id = settings, paths, store, cycle_id
        self._engine: Engine | None = None
        self._judges: dict[str, Judge] = {}

    @cached_property
    def model_path(self) -> Path:
        """The deployed base model's folder; the embedded one is converted on first use."""
        return resolve_model(self._settings.model.name, cache_dir=self._paths.models)

    @cached_property
    def base_policy(self) -> Policy:
        return Policy(model_digest(self.model_path))

    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = self._make_engine()
        return self._engine

    def _make_engine(self) -> Engine:
        model, engine = self._settings.model, self._settings.engine
        if engine.kind == "openai":
            return OpenAIEngine(
                str(engine.base_url),
                os.environ.get(engine.api_key_env),
                engine.base_model_name,
                engine.concurrency,
                total_deadline_s=engine.total_deadline_s,
                base_digest=self.base_policy.base_digest,
            )
        return TransformersEngine(
            model_path=self.model_path,
            threads=model.threads,
            dtype=model.dtype,
            batch_size=model.batch_size,
            share_heads=model.share_heads,
        )

    def judge(self, name: str) -> Judge:
        """The judge of that name in judging.registry. ConfigurationError where there is none."""
        if name not in self._judges:
            registry = self._settings.judging.registry
            if name not in registry:
                raise ConfigurationError(
                    f"no judge {name!r} in judging.registry; known are {', '.join(registry)}"
                )
            self._judges[name] = _KINDS[registry[name].kind](self, name, registry[name])
        return self._judges[name]

    def put_away(self) -> None:
        """Drop models so that a training process has the memory; they are made again when asked for."""
        for judge in self._judges.values():
            judge.close()
        self._judges.clear()
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)  # glibc keeps freed memory otherwise

    # --- kinds of judges --------------------------------------------------------------------------------

    def _local(self, name: str, judge: JudgeSettings) -> Judge:
        return LocalJudge(
            name=name,
            model_path=resolve_model(str(judge.model), cache_dir=self._paths.models),
            rubric=Rubric.load(judge.rubric),
            adapter_path=judge_adapter(judge.adapter) if judge.adapter else None,
            dtype=judge.dtype,
            threads=self._settings.model.threads,
            batch_size=judge.batch_size,
            label_bias=judge.label_bias,
            layers=judge.layers,
        )

    def _self(self, name: str, judge: JudgeSettings) -> Judge:
        deployed = self._store.releases.deployed()
        policy = self._store.releases.policy(deployed.policy_digest) if deployed else self.base_policy
        return LocalJudge(
            name=name,
            model_path=self.model_path,
            rubric=Rubric.load(judge.rubric),
            adapter_path=judge_adapter(judge.adapter) if judge.adapter else policy.adapter_path,
            dtype=judge.dtype,
            threads=self._settings.model.threads,
            batch_size=judge.batch_size,
        )

    def _openai(self, name: str, judge: JudgeSettings) -> Judge:
        try:
            # Of an extra, which a deployment without such a judge need not have.
            from judges.openai import DEFAULT_MODEL, OpenAIJudge
        except ModuleNotFoundError as problem:
            raise ConfigurationError(
                f"judging.registry.{name}: a judge of kind openai needs the package {problem.name}; "
                "pip install 'primum[openai]', or remove the judge"
            ) from problem
        made = OpenAIJudge(
            name,
            api_key=os.environ.get(judge.api_key_env, ""),
            rubric=Rubric.load(judge.rubric),
            model=judge.model or DEFAULT_MODEL,
            base_url=judge.base_url,
            concurrency=judge.concurrency,
            total_deadline_s=judge.total_deadline_s,
            prices=read_prices(),
            cap_usd=judge.cap_usd,
            seed=self._settings.seed,
        )
        made.count_in(self._spent_usd(made.digest))
        return made

    def _spent_usd(self, judge_digest: str) -> float:
        """What the ledger says the judge has cost this cycle; 0 outside of one."""
        if self._cycle_id is None:
            return 0.0
        return self._store.evidence.spent(cycle_id=self._cycle_id, judge_digest=judge_digest).cost_usd

    def _guard(self, name: str, judge: JudgeSettings) -> Judge:
        if judge.guard_kind is None:
            raise ConfigurationError(f"judging.registry.{name}: guard_kind is missing")
        return GuardJudge(
            name,
            model=str(judge.model),
            kind=judge.guard_kind,
            revision=judge.revision,
            batch_size=judge.batch_size,
            device=pick_device(),
        )

    def _human(self, name: str, judge: JudgeSettings) -> Judge:
        stored = {label.answer_digest: label.label for label in self._store.evidence.labels()}
        if judge.labels is None:
            return HumanJudge(stored, name=name)
        return HumanJudge.from_rows(read_labels(judge.labels), name=name)

    def _panel(self, name: str, judge: JudgeSettings) -> Judge:
        members = [Member(self.judge(member), weight) for member, weight in judge.members.items()]
        panel = PanelJudge(name, members, agreement=judge.agreement)
        for member in judge.members:
            # Whose dollars a panel spent is not written down: each member that pays may have spent them all.
            if self._settings.judging.registry[member].kind == "openai":
                cast("OpenAIJudge", self.judge(member)).count_in(self._spent_usd(panel.digest))
        return panel

    def _rules(self, name: str, _judge: JudgeSettings) -> Judge:
        return RulesJudge(name=name)


_KINDS: dict[str, Callable[[Workshop, str, JudgeSettings], Judge]] = {
    "local": Workshop._local,
    "self": Workshop._self,
    "openai": Workshop._openai,
    "guard": Workshop._guard,
    "human": Workshop._human,
    "panel": Workshop._panel,
    "rules": Workshop._rules,
}


def shipped_reports(registry: Mapping[str, JudgeSettings]) -> list[CalibrationReport]:
    """Calibrations that lie beside judges' adapters, those that ship and those of `registry`.

    DataError where one cannot be read.
    """
    folders = {file.parent for file in SHIPPED_ADAPTERS.glob(f"*/{REPORT_FILE}")}
    folders |= {Path(judge.adapter) for judge in registry.values() if judge.adapter}
    return [_report(folder / REPORT_FILE) for folder in sorted(folders) if (folder / REPORT_FILE).is_file()]


def _report(file: Path) -> CalibrationReport:
    try:
        return CalibrationReport.from_json(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, DataError) as error:
        raise DataError(
            f"{file} is no calibration report ({error}); calibrate the judge again, or remove the file"
        ) from error


def judge_adapter(name: str) -> Path:
    """Folder of a judge's adapter: one that ships with the project, or a path."""
    shipped = SHIPPED_ADAPTERS / name
    folder = shipped if shipped.is_dir() else Path(name)
    if not (folder / "adapter_model.safetensors").is_file():
        raise ConfigurationError(f"judge adapter {name!r}: no adapter_model.safetensors in {folder}")
    return folder
