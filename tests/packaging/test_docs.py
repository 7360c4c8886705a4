"""Links in the documents lead somewhere, and the README names what the program has."""

import re
from pathlib import Path

import pytest

from farm.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(page: Path) -> None:
    targets = [link for link in LINK.findall(page.read_text("utf-8")) if "://" not in link]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_readme_names_only_options_that_submit_has(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["submit", "--help"]) == 0
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    rows = re.findall(r"^\| (`-.*?) \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    named = {option for row in rows for option in re.findall(r"--[a-z][a-z-]+", row)}
    assert len(named) > 8
    assert named <= known


def test_ci_runs_the_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert script.rstrip().endswith("exec make test")
    assert "```\nmake test\n```" in (ROOT / "README.md").read_text("utf-8")
