"""Find, download or convert a base model.

`python -m policies.engines.resolve NAME CACHE_DIR` prints its folder.
"""

from __future__ import annotations

import sys
from pathlib import Path

from policies.engines.models import resolve_model
from policies.errors import PrimumError


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m policies.engines.resolve NAME CACHE_DIR\n")
        return 2
    try:
        folder = resolve_model(arguments[0], cache_dir=Path(arguments[1]))
    except PrimumError as error:
        sys.stderr.write(f"primum: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
