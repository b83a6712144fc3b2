"""From settings to a cycle's plan: the one place where a worker reads the settings."""

from __future__ import annotations

from pathlib import Path

from daemon.cycle.plan import Plan
from daemon.cycle.questions import Amounts, choose
from daemon.cycle.training_asks import TrainingSampling, read_context
from daemon.settings import Settings
from judges.labels import LabelledRow, read_labels
from judges.shipped import held_out_labels, reference_answers
from policies.sources.registry import load_prompts
from policies.splits import split
from policies.validation.config import load_gates


def make_plan(settings: Settings, *, cycle_seed: int) -> Plan:
    """Everything that a cycle does, from the settings and the prompts' source."""
    prompts = load_prompts(settings.prompts.source, seed=settings.prompts.split_seed)
    fractions = {name: getattr(settings.prompts, name) for name in ("train", "selection", "sealed")}
    splits = split(prompts, fractions=fractions, seed=settings.prompts.split_seed)
    sampling, judging, training = settings.sampling, settings.judging, settings.training
    plain_tokens = sampling.plain_tokens or sampling.max_new_tokens
    contrast_tokens = sampling.contrast_tokens or sampling.max_new_tokens
    amounts = Amounts(
        train=sampling.train_prompts,
        selection=sampling.selection_prompts,
        sealed=sampling.sealed_prompts,
        level_shares=sampling.level_shares,
        train_level_shares=sampling.train_level_shares,
        method_weights=sampling.method_weights,
        harmless_method_weights=sampling.harmless_method_weights,
        harmful_method_weights=sampling.harmful_method_weights,
        train_hard_benign_share=sampling.train_hard_benign_share,
        hard_benign_share=sampling.hard_benign_share,
        held_out=training.held_out_prompts if training.holds_out else 0,
    )
    return Plan(
        splits=splits,
        split_seed=settings.prompts.split_seed,
        questions=choose(splits, amounts, cycle_seed=cycle_seed, split_seed=settings.prompts.split_seed),
        sampling=TrainingSampling(
            worked=read_context(sampling.worked_examples),
            over_cautious=read_context(sampling.over_cautious_examples),
            plain_tokens=plain_tokens,
            plain_harmful_tokens=sampling.plain_harmful_tokens or plain_tokens,
            contrast_tokens=contrast_tokens,
            over_cautious_tokens=sampling.over_cautious_tokens or contrast_tokens,
            temperature=sampling.temperature,
            harmless_temperature=sampling.harmless_temperature,
            top_k=sampling.top_k,
            harmless_tries=sampling.harmless_tries,
            contrast_prompts=sampling.contrast_prompts,
            prefer_refusals=training.prefer_refusals,
            settle_for_caution=training.settle_for_caution,
        ),
        gates=load_gates(settings.gates),
        recipes={name: recipe.recipe() for name, recipe in training.candidates.items()},
        references=reference_answers(),
        train_judge=judging.train,
        validate_judge=judging.validate_with,
        second_judge=judging.second,
        max_new_tokens=sampling.max_new_tokens,
        max_unscored=judging.max_unscored,
        least=training.least,
        max_pairs=training.max_pairs,
        max_examples=training.max_examples,
        training_timeout_s=training.timeout_s,
        threads=settings.model.threads,
        dtype=settings.model.dtype,
        race_looks=settings.validation.race.looks,
        race_error=settings.validation.race.error,
        labelled_prompts=settings.validation.labelled_prompts,
        replay_cycles=training.replay_cycles,
        borrow_refusals=training.borrow_refusals,
        harmful_ratio=training.harmful_ratio,
        balance_methods=training.balance_methods,
    )


def calibration_rows(settings: Settings) -> list[LabelledRow] | None:
    """Labels with which a cycle may calibrate a judge on its own; None where it may not."""
    if not settings.judging.calibrate_automatically:
        return None
    labels: Path | None = settings.judging.calibration_labels
    return list(read_labels(labels)) if labels else list(held_out_labels())
