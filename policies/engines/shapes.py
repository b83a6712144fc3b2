"""Few shapes of products.

Where bf16 is multiplied by oneDNN, the code for a product is made at run time, anew for every shape: on a
Xeon with AMX a product of 370 rows takes 1 to 4 ms, and the first one of its shape 4 to 46 ms. A batch as
wide as its longest row is nearly always of a new shape. Here widths are rounded up, so that code is found
again; a few columns of padding cost less.
"""

from __future__ import annotations

import torch


def round_up(size: int, step: int) -> int:
    """The least multiple of `step` that is not below `size`."""
    return -(-size // step) * step


def shape_step(device: str | torch.device, dtype: torch.dtype, step: int) -> int:
    """`step` where code is made by shape, else 1: what widths are to be multiples of."""
    return step if torch.device(device).type == "cpu" and dtype == torch.bfloat16 else 1
