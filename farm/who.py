"""What a survey found, in words and numbers for people and programs."""

from __future__ import annotations

from typing import Any

from cluster.service import Survey
from farm.contact_sheet import time_code


def who_facts(survey: Survey) -> dict[str, Any]:
    """The identities of a film as JSON can hold them; times in seconds of screen time."""
    index = survey.index
    length = index.seconds
    per_frame = length / index.frames
    return {
        "video": index.path,
        "frames": index.frames,
        "seconds": round(length, 3),
        "analysis_cached": survey.cached,
        "embedded": survey.embedded,
        "classified": survey.classified,
        "identities": [
            {
                "letter": identity.letter,
                "frames": identity.frames,
                "seconds": round(identity.frames * per_frame, 3),
                "share": round(identity.frames / index.frames, 4),
                "tracks": list(identity.tracks),
                "first_frame": identity.first,
                "first_time": time_code(float(index.time(identity.first))),
                "samples": [
                    {"frame": frame, "box": [round(v, 1) for v in box]}
                    for frame, box in survey.stitched.samples[identity.letter]
                ],
            }
            for identity in survey.stitched.identities
        ],
        "unknown": {
            "tracks": survey.stitched.unknown,
            "frames": survey.stitched.unknown_rows,
            "seconds": round(survey.stitched.unknown_rows * per_frame, 3),
        },
    }
