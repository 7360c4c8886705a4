"""Links in the documents lead somewhere, and the README names what the program has."""

import ast
import re
from collections.abc import Iterator
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


def _called(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def events() -> Iterator[str]:
    """Names of the events that the commands write, those of a job's preparation among them."""
    for path in (*(ROOT / "farm").rglob("*.py"), ROOT / "cluster" / "preparation.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                named = node.args and isinstance(node.args[0], ast.Constant)
                if _called(node.func) in ("event", "_write", "say") and named:
                    yield node.args[0].value
            elif isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                yield from (
                    value.value
                    for key, value in pairs
                    if isinstance(key, ast.Constant) and key.value == "event"
                    if isinstance(value, ast.Constant)
                )


def test_every_event_has_one_section() -> None:
    page = (ROOT / "docs" / "events.md").read_text("utf-8")
    sections = re.findall(r"^## `([a-z]+)`$", page, re.MULTILINE)
    assert len(sections) == len(set(sections))
    assert set(sections) == set(events())


def test_every_benchmark_is_named_in_the_documents() -> None:
    pages = "".join(page.read_text("utf-8") for page in PAGES)
    programs = [
        path.name
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        if "ArgumentParser" in path.read_text("utf-8")
    ]
    assert len(programs) > 8
    assert [name for name in programs if name not in pages] == []
