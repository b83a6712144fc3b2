"""Gates on the candidate as a language model: it still speaks, and it has not wandered off."""

from __future__ import annotations

import math
from collections.abc import Iterator

from policies.validation.cases import Case, Health, Shared
from policies.validation.config import Capability, GateConfig
from policies.validation.outcomes import FAIL, PASS, GateOutcome, at_most, plain, undecided

Check = tuple[str, float, float, float]  # what, figure, least, most


def capability(case: Case, shared: Shared, config: GateConfig) -> GateOutcome:
    """Perplexity, length, emptiness and degeneration against incumbent and base."""
    gate, name = config.gates.capability, "capability"
    checks = [*_text_checks(case, gate), *_perplexity_checks(case, gate)]
    bad = [_told(check) for check in checks if check[1] < check[2] or check[1] > check[3]]
    if bad:
        return plain(name, FAIL, "; ".join(bad))
    unknown = [check[0] for check in checks if not math.isfinite(check[1])]
    if not shared.base_known:
        unknown.append("the base model")
    if unknown:
        return undecided(name, f"not known: {', '.join(unknown)}")
    return plain(name, PASS, "; ".join(map(_told, checks)))


def kl_cap(case: Case, _shared: Shared, config: GateConfig) -> GateOutcome:
    """Divergence from the base model under the cap."""
    found, cap = case.health.kl_to_base, config.gates.kl_cap.max
    if found is None:
        return undecided("kl_cap", "the divergence from the base model was not measured")
    sentence = f"KL to the base model is {found:.3f} nats a token, at most {cap:g} is allowed"
    return at_most("kl_cap", PASS if found <= cap else FAIL, found, cap, sentence)


def _text_checks(case: Case, gate: Capability) -> Iterator[Check]:
    own = case.health.text
    for who, other in _others(case):
        text = other.text
        share = gate.degenerate_increase
        yield f"degenerate answers above {who}", own.degenerate - text.degenerate, -1.0, share
        yield f"empty answers above {who}", own.empty - text.empty, -1.0, gate.empty_increase
        if who == "incumbent":
            words = _ratio(own.harmless_words, text.harmless_words)
            yield f"words a harmless answer over {who}", words, gate.words_min, gate.words_max


def _perplexity_checks(case: Case, gate: Capability) -> Iterator[Check]:
    for who, other in _others(case):
        cap = gate.perplexity_ratio if who == "incumbent" else gate.perplexity_ratio_to_base
        yield f"perplexity over {who}", _ratio(case.health.perplexity, other.perplexity), 0.0, cap


def _others(case: Case) -> Iterator[tuple[str, Health]]:
    yield "incumbent", case.incumbent_health
    if case.base_health is not None:
        yield "base", case.base_health


def _ratio(figure: float | None, other: float | None) -> float:
    """NaN where either is missing or no positive number."""
    if figure is None or other is None or not (figure >= 0 and other > 0):
        return math.nan
    return figure / other


def _told(check: Check) -> str:
    what, figure, least, most = check
    allowed = f"at most {most:g}" if least <= 0 else f"{least:g} to {most:g}"
    return f"{what} {figure:+.3f} ({allowed})" if "above" in what else f"{what} {figure:.3f} ({allowed})"
