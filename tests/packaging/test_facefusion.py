"""docs/from-facefusion.md has every option of FaceFusion 3.8, and what it names exists."""

import re
from pathlib import Path

import pytest

from farm.cli import main
from farm.facefusion import NOT_OFFERED, WHY_NOT
from farm.options.catalogue import catalogue

ROOT = Path(__file__).resolve().parents[2]
_NAMES = """
config-path temp-path jobs-path source-paths target-path output-path
face-detector-model face-detector-size face-detector-margin face-detector-angles face-detector-score
face-landmarker-model face-landmarker-score
face-selector-mode face-selector-order face-selector-age-start face-selector-age-end
face-selector-gender face-selector-race
reference-face-position reference-face-distance reference-frame-number face-tracker-score
face-occluder-model face-parser-model face-mask-types face-mask-areas face-mask-regions
face-mask-blur face-mask-padding voice-extractor-model
trim-frame-start trim-frame-end temp-frame-format temp-pixel-format target-frame-amount
output-image-quality output-image-scale output-audio-encoder output-audio-quality
output-audio-volume output-video-encoder output-video-preset output-video-quality
output-video-scale output-video-fps workflow-mode workflow-strategy processors
age-modifier-model age-modifier-direction
background-remover-model background-remover-fill-color background-remover-despill-color
deep-swapper-model deep-swapper-morph
expression-restorer-model expression-restorer-factor expression-restorer-areas face-debugger-items
face-editor-model face-editor-eyebrow-direction face-editor-eye-gaze-horizontal
face-editor-eye-gaze-vertical face-editor-eye-open-ratio face-editor-lip-open-ratio
face-editor-mouth-grim face-editor-mouth-pout face-editor-mouth-purse face-editor-mouth-smile
face-editor-mouth-position-horizontal face-editor-mouth-position-vertical
face-editor-head-pitch face-editor-head-yaw face-editor-head-roll
face-enhancer-model face-enhancer-blend face-enhancer-weight
face-swapper-model face-swapper-pixel-boost face-swapper-weight
frame-colorizer-model frame-colorizer-size frame-colorizer-blend
frame-enhancer-model frame-enhancer-blend lip-syncer-model lip-syncer-weight
execution-device-ids execution-providers execution-thread-count download-providers
video-memory-strategy log-level
"""
OPTIONS = _NAMES.split()


@pytest.fixture
def rows() -> dict[str, str]:
    """{FaceFusion's option: our column}."""
    text = (ROOT / "docs" / "from-facefusion.md").read_text("utf-8").split("## Commands")[0]
    found = re.findall(r"^\| .*?`--([a-z-]+)` \| (.*?) \|", text, re.MULTILINE)
    assert len(found) == len(dict(found))
    return dict(found)


def test_every_option_has_its_row(rows: dict[str, str]) -> None:
    assert len(OPTIONS) == len(set(OPTIONS)) == 94
    assert list(rows) == OPTIONS


def test_what_the_table_names_is_in_the_help(
    rows: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["submit", "--help"]) == 0
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    named = {flag for ours in rows.values() for flag in re.findall(r"`(--[a-z-]+)`", ours)}
    assert len(named) > 50
    assert named <= known
    assert main(["--help"]) == 0
    assert "--config" in capsys.readouterr().out


def test_a_row_that_we_have_keeps_the_name_and_one_that_we_have_not_says_why(
    rows: dict[str, str],
) -> None:
    flags = {name for option in catalogue() if option.flag for name in option.flag.names}
    for option, ours in rows.items():
        if ours == "-":
            assert f"--{option}" not in flags
            key = option.replace("-", "_")
            assert key in WHY_NOT or key == "processors" or key.startswith(NOT_OFFERED), key
        else:
            assert f"`--{option}`" in ours or option == "config-path"
