"""The stages of a cycle, in order. Here, so that the daemon may name them without the code that runs them."""

from __future__ import annotations

STAGES = ("prepare", "sample", "judge", "prefer", "train", "validate", "decide")

# What the stage `validate` tells beside its policies: whom it compared, by which judge.
COMPARED = "compared"
