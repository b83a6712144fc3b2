"""Widths are rounded up where a product's code is made by its shape, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from policies.engines.shapes import round_up, shape_step


@pytest.mark.parametrize(
    ("size", "step", "told"), [(0, 16, 0), (1, 16, 16), (16, 16, 16), (17, 16, 32), (5, 1, 5)]
)
def test_the_next_multiple(size: int, step: int, told: int) -> None:
    assert round_up(size, step) == told


def test_only_bf16_on_a_cpu_is_rounded_up() -> None:
    assert shape_step("cpu", torch.bfloat16, 32) == 32
    assert shape_step(torch.device("cpu"), torch.float32, 32) == 1
    assert shape_step("cuda:0", torch.bfloat16, 32) == 1
