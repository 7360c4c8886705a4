"""docs/errors.md and the error tree say the same."""

import pickle
import re
from pathlib import Path

import scheduler.errors
from scheduler.errors import SwapfarmError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
ROW = re.compile(r"^\| `([a-z.-]+)` \| (\d+) \| .+ \| .+ \|$", re.MULTILINE)


def tree() -> list[type[SwapfarmError]]:
    return [
        each
        for each in vars(scheduler.errors).values()
        if isinstance(each, type) and issubclass(each, SwapfarmError)
    ]


def test_codes_are_unique() -> None:
    codes = [each.code for each in tree()]
    assert len(codes) == len(set(codes))


def test_every_error_has_its_own_code_and_is_written_down_with_its_exit_code() -> None:
    written = {code: int(exit_code) for code, exit_code in ROW.findall(PAGE.read_text("utf-8"))}
    assert written == {each.code: each.exit_code for each in tree()}


def test_every_exit_code_is_in_the_table() -> None:
    table = re.findall(r"^\| (\d+) \| [^|]+ \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert {each.exit_code for each in tree()} <= set(map(int, table))


def test_an_error_survives_pickling() -> None:
    for kind in tree():
        error = kind("found this", "wanted that", "do so")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind
        assert (again.found, again.wanted, again.next_step) == (
            "found this",
            "wanted that",
            "do so",
        )
