"""What a start of the program removes for its age."""

from __future__ import annotations

from typing import Final

from cluster.expiry import Kept, expire
from farm.config import Settings
from farm.remote import inputs_folder, outputs_folder
from farm.submission import job_root

DAY: Final = 86400.0


def tidy(settings: Settings) -> tuple[str, ...]:
    """Remove what nobody used for ``keep_days``; the names of what went.

    Jobs that a farm knows are the farm's, also when it is not up.
    """
    known = settings.state_dir / "farm" / "jobs"
    kept = Kept(
        jobs=job_root(settings),
        folders=(
            settings.cache_dir / "analysis",
            settings.state_dir / "reports",
            inputs_folder(settings),
            outputs_folder(settings),
        ),
    )
    return expire(kept, settings.keep_days * DAY, needed=lambda name: (known / name).exists())
