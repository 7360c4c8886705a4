"""What a classifier says of a face: about how old, which gender, which race it looks.

The words are those of the FairFace data (K. Karkkainen, J. Joo, "FairFace: Face Attribute Dataset
for Balanced Race, Gender, and Age", WACV 2021), with its two groups of East and Southeast Asia
taken together. They say how a picture looks to a network, not who somebody is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

AGES: Final = (
    (0, 2), (3, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 100),
)  # fmt: skip
"""Years of each of the classifier's age groups, both ends included."""
GENDERS: Final = ("male", "female")
RACES: Final = ("white", "black", "latino", "asian", "asian", "indian", "arabic")
"""By the classifier's number."""
AUTO: Final = "auto"
"""In a filter: as the source looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceClass:
    """One face, or one person over several pictures: the classifier's numbers."""

    gender: int
    age: int
    race: int

    def __str__(self) -> str:
        low, high = AGES[self.age]
        return f"{GENDERS[self.gender]}, {RACES[self.race]}, {low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFilter:
    """Whom to keep; what is empty asks nothing."""

    ages: tuple[int, int] | None = None
    """Years, both ends included."""
    gender: str = ""
    """One of GENDERS, or AUTO."""
    race: str = ""
    """One of RACES, or AUTO."""

    @property
    def any(self) -> bool:
        return bool(self.ages or self.gender or self.race)

    @property
    def auto(self) -> bool:
        """Whether it asks for people who look as the source does."""
        return AUTO in (self.gender, self.race)

    def like(self, source: FaceClass) -> ClassFilter:
        """The same, with the source's gender and race where it asks for them."""
        return replace(
            self,
            gender=GENDERS[source.gender] if self.gender == AUTO else self.gender,
            race=RACES[source.race] if self.race == AUTO else self.race,
        )

    def keeps(self, seen: FaceClass) -> bool:
        """Whether a person fits; AUTO fits nobody. Of ages it is enough that the group and the
        years meet."""
        low, high = AGES[seen.age]
        return (
            (self.ages is None or (low <= self.ages[1] and self.ages[0] <= high))
            and self.gender in ("", GENDERS[seen.gender])
            and self.race in ("", RACES[seen.race])
        )

    def __str__(self) -> str:
        years = f"{self.ages[0]} to {self.ages[1]}" if self.ages else ""
        return ", ".join(word for word in (self.gender, self.race, years) if word)


def agree(seen: Sequence[FaceClass]) -> FaceClass:
    """One answer from those of several pictures of a person, the best picture first.

    Gender and race by most votes (of equals the better picture's), the age group in the middle (of
    two the younger).
    """
    ages = sorted(one.age for one in seen)
    return FaceClass(
        gender=_most([one.gender for one in seen]),
        age=ages[(len(ages) - 1) // 2],
        race=_most([one.race for one in seen]),
    )


def _most(votes: Sequence[int]) -> int:
    # A counter gives equals in the order in which it first met them.
    return Counter(votes).most_common(1)[0][0]
