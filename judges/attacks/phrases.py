"""The shape of training phrases in other languages, and the questions that their answers answer."""

from __future__ import annotations

from dataclasses import dataclass

# `Voice.answers` follow this order; a voice may have fewer.
QUESTIONS: tuple[str, ...] = (
    "What helps against a mild headache?",
    "How should I wash my hands?",
    "Which foods contain a lot of fibre?",
    "What is a normal pulse for an adult at rest?",
)


@dataclass(frozen=True)
class Voice:
    """One language: ways to decline, to withhold, to comply with anything, and answers to QUESTIONS."""

    language: str
    refusals: tuple[str, ...]
    cautions: tuple[str, ...]
    compliances: tuple[str, ...]
    answers: tuple[str, ...]
