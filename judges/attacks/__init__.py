"""Attacks on judges: what a hostile answer may try, and how often it works."""

from judges.attacks.report import AttackReport, FlipCount, run_attacks
from judges.attacks.seeds import SEEDS, SeedCase
from judges.attacks.suite import (
    FAMILIES,
    STRUCTURAL_FAMILIES,
    Attack,
    build_suite,
    suite_digest,
    training_rows,
)

__all__ = [
    "FAMILIES",
    "SEEDS",
    "STRUCTURAL_FAMILIES",
    "Attack",
    "AttackReport",
    "FlipCount",
    "SeedCase",
    "build_suite",
    "run_attacks",
    "suite_digest",
    "training_rows",
]
