"""Incumbent against candidate on the same prompts: the tests behind the gates, with all their figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from policies.digests import seed_from
from policies.errors import NotEnoughData
from policies.statistics.bootstrap import Interval, cluster_robust_interval, paired_difference
from policies.statistics.multiplicity import holm
from policies.statistics.noninferiority import NonInferiority, noninferiority
from policies.statistics.paired import TestResult, mcnemar_clustered, mcnemar_exact, sign_flip_test
from policies.statistics.power import (
    Needed,
    Precision,
    minimum_detectable_effect,
    precision_of,
    prompts_needed,
)
from policies.validation.config import GateConfig, Margin
from policies.validation.outcomes import FAIL, INCONCLUSIVE, PASS
from policies.validation.tables import CAUTION, REFUSE, Pair

_DRAWS_A_TAIL = 10  # bootstrap draws that should lie beyond the smallest p that Holm asks for
_MOST_RESAMPLES = 2_000_000


@dataclass(frozen=True)
class SsTest:
    """SS of candidate − incumbent. `p_value` is the larger of bootstrap and sign flips; `p_adjusted` Holm's.

    `alpha` is the cycle's, shared by `family` candidates; `effect` the smallest gain that matters.
    """

    before: float
    after: float
    interval: Interval
    p_bootstrap: float
    p_sign_flips: float
    p_value: float
    p_adjusted: float
    alpha: float
    family: int
    effect: float
    power: float
    precision: Precision

    @property
    def outcome(self) -> str:
        """Pass: significant. Fail: a gain of `effect` is ruled out. Else inconclusive."""
        if self.p_adjusted <= self.alpha and self.interval.low > 0:
            return PASS
        return FAIL if self.interval.high < self.effect else INCONCLUSIVE

    @property
    def detectable(self) -> float:
        """The smallest true gain that these prompts would show with `power`."""
        return minimum_detectable_effect(self.precision, alpha=self.alpha / self.family, power=self.power)

    @property
    def needed(self) -> Needed | None:
        """Prompts that would show a gain of `effect` with `power`; None if no number would."""
        return prompts_needed(self.effect, self.precision, alpha=self.alpha / self.family, power=self.power)

    def to_json(self) -> dict[str, Any]:
        needed = self.needed
        more = None if needed is None else asdict(needed)
        return asdict(self) | {"outcome": self.outcome, "detectable": self.detectable, "needed": more}


@dataclass(frozen=True)
class RateTest:
    """A rate's rise against a margin. `lower` and `upper` are one-sided bounds at `test.alpha`.

    `unscored` harmless rows have no verdict on one side; `worst` is the same test with them, as bad as they
    can be, None where there are none.
    """

    before: float
    after: float
    lower: float
    upper: float
    test: NonInferiority
    unscored: int = 0
    worst: RateTest | None = None

    @property
    def outcome(self) -> str:
        """Pass: the rise is within the margin, whatever was not scored. Fail: beyond. Else inconclusive."""
        if self.test.holds:
            return PASS if self.worst is None or self.worst.test.holds else INCONCLUSIVE
        return FAIL if self.lower > self.test.margin else INCONCLUSIVE

    @property
    def hangs_on_unscored(self) -> bool:
        """It would pass, were it not for what has no verdict."""
        return self.test.holds and self.outcome != PASS

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"outcome": self.outcome}


def ss_test(
    pair: Pair, config: GateConfig, *, alpha: float, family: int, seed: int, resamples: int | None = None
) -> SsTest:
    """Test one candidate; `family` candidates are tested in this cycle. NotEnoughData without paired rows.

    The bootstrap draws as often as a p of alpha / family needs; where that is beyond all reason (hundreds of
    cycles on a harmonic budget) the sandwich's p stands in for it.
    """
    gate = config.gates.ss_superiority
    before, after = pair.scores
    clusters = pair.slices.clusters
    strictest = alpha / family
    draws = max(resamples or config.statistics.resamples, math.ceil(_DRAWS_A_TAIL / strictest))
    interval = paired_difference(
        before,
        after,
        clusters,
        level=config.statistics.level,
        resamples=min(draws, _MOST_RESAMPLES),
        seed=seed_from(seed, "ss"),
    )
    p_bootstrap = interval.p_greater
    if draws > _MOST_RESAMPLES and interval.standard_error > 0:
        p_bootstrap = cluster_robust_interval(after - before, clusters, null=0.0).p_greater
    if p_bootstrap is None:
        raise NotEnoughData("ss_superiority: no p-value")
    flips = sign_flip_test(before, after, clusters, alternative="greater").p_value
    p_value = max(p_bootstrap, flips)
    return SsTest(
        before=float(before.mean()),
        after=float(after.mean()),
        interval=interval,
        p_bootstrap=p_bootstrap,
        p_sign_flips=flips,
        p_value=p_value,
        p_adjusted=min(1.0, p_value * family),
        alpha=alpha,
        family=family,
        effect=gate.effect,
        power=gate.power,
        precision=precision_of(before, after, clusters),
    )


def adjust(tests: Mapping[str, SsTest | None], *, family: int) -> dict[str, SsTest | None]:
    """Holm over the cycle's candidates. Untestable and raced-out ones count as p = 1."""
    tested = {key: test for key, test in tests.items() if test is not None}
    if not tested:
        return dict(tests)
    p_values = [test.p_value for test in tested.values()]
    p_values += [1.0] * (family - len(p_values))
    adjusted = holm(p_values).adjusted
    return dict(tests) | {
        key: replace(test, p_adjusted=float(p))
        for (key, test), p in zip(tested.items(), adjusted, strict=False)
    }


def rate_test(
    pair: Pair, labels: Sequence[int], margin: Margin, *, alpha: float, resamples: int, seed: int
) -> RateTest:
    """Non-inferiority of the share of `labels` among harmless prompts. NotEnoughData without any."""
    harmless = pair.harmless
    if not harmless.rows:
        raise NotEnoughData("no harmless prompt was scored on both sides; the selection split needs level 0")
    before, after = harmless.outcomes(*labels)
    allowed = margin.at(pair.harmless_asked)
    options = {"alpha": alpha, "resamples": resamples, "seed": seed}
    test = noninferiority(before, after, harmless.slices.clusters, margin=allowed, **options)  # type: ignore[arg-type]
    lower = -math.inf
    if not test.holds:
        # Turned round, its upper bound is our lower one.
        turned = noninferiority(after, before, harmless.slices.clusters, margin=allowed, **options)  # type: ignore[arg-type]
        lower = -turned.upper
    found = RateTest(float(before.mean()), float(after.mean()), lower, test.upper, test)
    if pair.worst_case is None:
        return found
    worst = rate_test(pair.worst_case, labels, margin, **options)  # type: ignore[arg-type]
    return replace(found, unscored=pair.harmless_asked - harmless.rows, worst=worst)


def refusal_changes(pair: Pair) -> dict[str, dict[str, TestResult]]:
    """McNemar, exact and adjusted for clusters, of refusals on harmful and on harmless prompts, and of
    over-caution. Reported, not decided by.
    """
    found = {}
    for name, part, labels in (
        ("refusal, harmful", pair.harmful, (REFUSE,)),
        ("refusal, harmless", pair.harmless, (REFUSE,)),
        ("over-caution, harmless", pair.harmless, (CAUTION, REFUSE)),
    ):
        if part.rows:
            before, after = part.outcomes(*labels)
            found[name] = {
                "exact": mcnemar_exact(before, after),
                "clustered": mcnemar_clustered(before, after, part.slices.clusters),
            }
    return found
