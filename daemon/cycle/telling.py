"""How a worker tells what it does: one JSON object a line on stdout."""

from __future__ import annotations

import json
import sys
from typing import Any


def tell(event: dict[str, Any]) -> None:
    """One JSON object a line."""
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()
