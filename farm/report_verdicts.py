"""The report's headline numbers, with a word on each. Rules of thumb, from the sample clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

GRADES: Final = {
    "good": "✓ good",
    "fair": "~ worth a look",
    "poor": "! weak",
    "none": "not measured",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One number and what to think of it."""

    name: str
    value: str
    grade: str
    """One of ``GRADES``."""
    words: str

    @property
    def grade_word(self) -> str:
        return GRADES[self.grade]


def verdicts(facts: Mapping[str, Any]) -> list[Verdict]:
    """The headline numbers of a report, what matters most first."""
    total = facts["total"]
    like = total["similarity"]
    before = total["similarity_before"]
    wanted, swapped = total["wanted"], total["swapped"]
    share = 100 * swapped / wanted if wanted else None
    switches = total["identity_switches"]
    like_words = (
        f"least {like['min']:.2f}; {before['mean']:.2f} before the swap"
        if like and before
        else "0.40 and more is the same person"
    )
    return [
        _rated("Likeness", like and like["mean"], "{:.2f}", (0.4, 0.3), like_words, rising=True),
        _rated(
            "Swapped", share, "{:.1f} %", (97.0, 85.0),
            f"{swapped} of {wanted} faces that were to be swapped", rising=True,
        ),
        Verdict(
            name="Identity switches",
            value=str(switches),
            grade="good" if not switches else "poor",
            words="nobody becomes somebody else" if not switches else "see the list below",
        ),
        _rated(
            "Warping", total["warp"]["ratio"], "{:.2f}×", (1.5, 2.5),
            "change from frame to frame, over the film’s own",
        ),
        _rated(
            "Flicker", total["flicker"]["ratio"], "{:.2f}×", (1.5, 2.5),
            "the part of it that is broad, over the film’s own",
        ),
        _rated(
            "Seams", total["seam"], "{:.2f}×", (1.5, 2.5),
            "warping at chunk borders, over elsewhere" if total["seam"] is not None
            else "no chunk border within a shot",
        ),
        _rated(
            "Jitter", total["jitter"]["pct"], "{:.2f} %", (1.0, 2.0),
            "of the distance between the eyes, true motion included",
        ),
    ]  # fmt: skip


def _rated(
    name: str,
    value: float | None,
    form: str,
    levels: tuple[float, float],
    words: str,
    *,
    rising: bool = False,
) -> Verdict:
    """A verdict by two levels: good up to (rising: from) the first, fair to the second."""
    if value is None:
        return Verdict(name=name, value="–", grade="none", words=words)
    good, fair = ((value >= level) if rising else (value <= level) for level in levels)
    grade = "good" if good else "fair" if fair else "poor"
    return Verdict(name=name, value=form.format(value), grade=grade, words=words)
