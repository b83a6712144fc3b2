"""Verdicts → preferences: KTO examples and DPO pairs, by the CARES table.

What the deployed policy said plainly is set against what it says under worked examples (context
distillation): for harmful prompts the refusal is wanted, for harmless ones the plain answer. See Nghiem et
al. 2025 for the loop and arXiv 2402.01306 (KTO), 2305.18290 (DPO) for what each method needs.
"""

from policies.preferences.examples import kto_examples
from policies.preferences.made import Preferences
from policies.preferences.pairs import dpo_pairs

__all__ = ["Preferences", "dpo_pairs", "kto_examples"]
