"""The start of a keeper process: lets go of whoever started it, before anything heavy is loaded."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Become a process of its own, with no terminal, and keep a farm up."""
    if os.fork():
        os._exit(0)
    os.setsid()
    keeper = os.fork()
    if keeper:
        # Ray takes a process whose parent is dead for one whose server is, and ends it together
        # with that server. So the keeper has a parent, which does nothing else.
        os.closerange(0, 3)
        os.waitpid(keeper, 0)
        os._exit(0)
    from cluster.farm_place import main as keep

    return keep()


if __name__ == "__main__":
    sys.exit(main())
