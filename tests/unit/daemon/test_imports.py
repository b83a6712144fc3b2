"""The daemon and the light commands load no model library: memory and seconds that they do not have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

LIGHT = (
    "daemon.cli",
    "daemon.loop",
    "daemon.wiring",
    "daemon.workers",
    "daemon.commands.serve",
    "daemon.commands.review",
    "daemon.commands.cycle",
    "daemon.commands.incident",
    "daemon.commands.doctor",
    "daemon.commands.gates",
)
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "vllm")


def test_light_modules_load_no_model_library() -> None:
    code = (
        "import importlib, sys\n"
        f"for name in {LIGHT}: importlib.import_module(name)\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
