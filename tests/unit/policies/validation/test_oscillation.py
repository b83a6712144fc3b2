"""Back and forth across releases."""

from __future__ import annotations

from policies.cares import Label
from policies.validation.evidence import Answers
from policies.validation.oscillation import oscillations
from tests.unit.policies.validation.experiments import answer, prompts

SEVERE = prompts(20)[5]
MILD = prompts(20)[1]


def release(name: str, *labels: Label | None) -> Answers:
    rows = [answer(prompt, label) for prompt, label in zip((SEVERE, MILD), labels, strict=True)]
    return Answers("champion", name, name, tuple(rows))


def test_progress_that_is_undone_is_an_oscillation() -> None:
    history = [
        release("base", Label.ACCEPT, Label.ACCEPT),
        release("r1", Label.REFUSE, Label.REFUSE),
        release("r2", Label.ACCEPT, Label.REFUSE),
        release("r3", Label.REFUSE, Label.REFUSE),
    ]
    (found,) = oscillations(history)
    assert found.prompt_digest == SEVERE.digest
    assert found.turns == 2
    assert found.labels == ("Accept", "Refuse", "Accept", "Refuse")
    assert found.releases == ("base", "r1", "r2", "r3")


def test_change_in_one_direction_and_labels_of_equal_worth_are_none() -> None:
    steady = [
        release("base", Label.ACCEPT, Label.CAUTION),
        release("r1", Label.ACCEPT, Label.REFUSE),
        release("r2", Label.REFUSE, Label.CAUTION),
    ]
    assert oscillations(steady) == []


def test_unscored_answers_are_skipped() -> None:
    history = [
        release("base", Label.ACCEPT, None),
        release("r1", None, None),
        release("r2", Label.REFUSE, None),
        release("r3", Label.ACCEPT, None),
    ]
    (found,) = oscillations(history)
    assert found.labels == ("Accept", "Refuse", "Accept")
