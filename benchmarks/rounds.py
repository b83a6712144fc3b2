"""Ways of doing the same, timed by turns: a busy machine slows all alike."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from policies.engines.environment import compute_environment


def fastest_rounds(what: str, ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of the fastest of `rounds` of each way, after a warm-up of each."""
    fastest = dict.fromkeys(ways, float("inf"))
    for number in range(rounds + 1):
        print(f"{what}: round {number} of {rounds}", file=sys.stderr, flush=True)
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:  # the first is the warm-up
                fastest[name] = min(fastest[name], time.perf_counter() - began)
    return fastest


def start_as_a_worker() -> None:
    """Start this program over where its environment is not that of processes that compute.

    Allocator settings have to be there when a process starts.
    """
    environment = compute_environment()
    if environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606 - ourselves


def options_of(description: str | None, *, count: int, rounds: int) -> argparse.ArgumentParser:
    """What a benchmark over questions of the bank can be told; the numbers are its defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=count, help=f"questions ({count})")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds of each way ({rounds})")
    parser.add_argument("--threads", type=int, help="threads of the model (all)")
    parser.add_argument("--models", type=Path, default=Path("data/models"), help="where models are kept")
    return parser
