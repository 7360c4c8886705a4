"""What a start of the program removes for its age."""

from __future__ import annotations

import time
from typing import Final

from cluster.expiry import Kept, expire, last_used
from cluster.farm_disk import FarmDisk
from farm.config import Settings
from farm.foreground import Runs
from farm.remote import inputs_folder, outputs_folder
from farm.submission import job_root

DAY: Final = 86400.0


def tidy(settings: Settings) -> tuple[str, ...]:
    """Remove what nobody used for ``keep_days``; the names of what went.

    What a farm knows is the farm's to remove, also when it is not up.
    """
    seconds = settings.keep_days * DAY
    if not seconds:
        return ()
    runs = Runs(settings.state_dir / "runs")
    limit = time.time() - seconds
    old = [disk.folder.name for disk in runs.all() if last_used(disk.folder) < limit]
    gone = [name for name in old if runs.remove(name)]
    needed = runs.folders() | FarmDisk(settings.state_dir / "farm").shelf.folders()
    kept = Kept(
        jobs=job_root(settings),
        folders=(
            settings.cache_dir / "analysis",
            settings.state_dir / "reports",
            inputs_folder(settings),
            outputs_folder(settings),
        ),
    )
    return (*gone, *expire(kept, seconds, needed=needed.__contains__))
