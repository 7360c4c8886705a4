"""Shell completion, as the shells ask for it, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ASK = "import sys; from farm.cli import main; sys.exit(main())"
"""What the installed command ``farm`` does."""


def farm(shell: str, words: str, **more: str) -> str:
    """What the command answers a shell that completes ``words``."""
    variables = {"_FARM_COMPLETE": f"complete_{shell}", **more}
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("farm jo", ["job", "jobs", "journal"]),
        ("farm submit film.mp4 --face-mask-ty", ["--face-mask-types"]),
    ],
)
def test_words_are_completed(words: str, found: list[str]) -> None:
    asked = words.split(" ")
    said = farm("bash", words, COMP_WORDS=words, COMP_CWORD=str(len(asked) - 1))
    assert sorted(said.split()) == found


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_a_real_bash_completes(tmp_path: Path) -> None:
    """With the script that `farm --show-completion` prints."""
    command = tmp_path / "farm"
    command.write_text(f"#!{sys.executable}\n{ASK}\n")
    command.chmod(0o755)
    script = farm("bash", "", _FARM_COMPLETE="source_bash")
    asked = f"""
        {script}
        COMP_WORDS=(farm job remo) COMP_CWORD=2
        _farm_completion farm remo job
        echo "${{COMPREPLY[@]}}"
        complete -p farm
    """
    done = subprocess.run(
        ["bash", "-c", asked],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[0].split() == ["remove-step"]
    assert "_farm_completion" in done.stdout
