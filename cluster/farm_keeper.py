"""The start of a keeper process: lets go of whoever started it, before anything heavy is loaded."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Become a process of its own, with no parent and no terminal, and keep a farm up."""
    if os.fork():
        os._exit(0)
    os.setsid()
    from cluster.farm_place import main as keep

    return keep()


if __name__ == "__main__":
    sys.exit(main())
