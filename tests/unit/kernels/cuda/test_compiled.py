"""The kernels compile for every named GPU, within their budgets and with IEEE arithmetic only."""

import ctypes
import json
import re
from pathlib import Path

import pytest

from kernels.cuda import modules
from kernels.cuda.signatures import SIGNATURES, SOURCES

BUDGET = Path(__file__).resolve().parents[3] / "data" / "cuda_budget.json"
USAGE = re.compile(
    r"entry function '(?P<name>\w+)'.*?(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes "
    r"spill stores, (?P<loads>\d+) bytes spill loads\n[^\n]*Used (?P<registers>\d+) registers"
    r"(?P<rest>[^\n]*)",
    re.DOTALL,
)


@pytest.fixture(scope="module")
def ptx() -> str:
    return modules.compile_kernels("compute_75").code.decode()


def entries(ptx: str) -> dict[str, tuple[str, str]]:
    """Parameters and body of each kernel."""
    found = re.findall(r"\.entry (\w+)\(\s*(.*?)\)\s*(.*?\n})", ptx, re.DOTALL)
    return {name: (parameters, body) for name, parameters, body in found}


def usage(log: str) -> dict[str, dict[str, int]]:
    """Of each kernel: registers, bytes of shared memory, of stack and spilled."""
    found = {}
    for match in USAGE.finditer(log):
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        found[match["name"]] = {
            "registers": int(match["registers"]),
            "shared": int(shared[1]) if shared else 0,
            "stack": int(match["stack"]),
            "spilled": int(match["stores"]) + int(match["loads"]),
        }
    return found


@pytest.mark.parametrize("capability", modules.ARCHITECTURES)
def test_machine_code_keeps_to_its_budget(capability: int) -> None:
    compiled = modules.compile_kernels(f"sm_{capability}")
    assert compiled.code.startswith(b"\x7fELF")
    found, budget = usage(compiled.log), json.loads(BUDGET.read_text())
    assert set(found) == set(budget) == set(SIGNATURES)
    for name, used in found.items():
        assert used["spilled"] == used["stack"] == 0, (name, used)
        assert used["registers"] <= budget[name]["registers"], (name, used)
        assert used["shared"] <= budget[name]["shared"], (name, used)


def test_every_source_is_listed() -> None:
    assert sorted(name for name in modules.sources() if name.endswith(".cu")) == sorted(SOURCES)


def test_arithmetic_is_ieee_and_stays_in_registers(ptx: str) -> None:
    assert set(entries(ptx)) == set(SIGNATURES)
    for wrong in (
        ".approx",
        ".ftz",
        ".f64",
        "\tld.local",
        "\tst.local",
        "\tatom",
        "\tred.",
        "shfl",
    ):
        assert wrong not in ptx
    assert not re.search(r"\t(sin|cos|ex2|lg2|rsqrt)", ptx)
    bodies = {name: body for name, (_, body) in entries(ptx).items()}
    dividing = {name for name in bodies if re.search(r"\t(div\.\w+\.f|rcp)", bodies[name])}
    # One of them a pixel, and rounded as IEEE says.
    assert dividing == {"colour_moments", "follow", "likeness"}
    assert set(re.findall(r"\t(?:div|rcp)\.(\w+)\.f32", ptx)) == {"rn"}
    # --fmad=false: only what the source calls a fused multiply-add is one.
    assert "fma.rn.f32" in ptx
    assert "mad.f32" not in ptx


KINDS = {ctypes.c_uint64: "u64", ctypes.c_int64: "u64", ctypes.c_int: "u32", ctypes.c_float: "f32"}


@pytest.mark.parametrize("name", sorted(SIGNATURES))
def test_launcher_passes_what_the_kernel_takes(ptx: str, name: str) -> None:
    declared = []
    for line in entries(ptx)[name][0].split(",\n"):
        plain = re.search(r"\.param \.([usf]\d+)(?: \.ptr[^,]*?)? \w+_param_\d+", line)
        packed = re.search(r"\.param \.align (\d+) \.b8 \w+_param_\d+\[(\d+)\]", line)
        assert plain or packed, line
        declared.append(plain[1] if plain else (int(packed[1]), int(packed[2])))
    wanted = [
        KINDS.get(kind) or (ctypes.alignment(kind), ctypes.sizeof(kind))
        for kind in SIGNATURES[name].arguments
    ]
    assert declared == wanted


def test_block_is_what_the_kernel_was_compiled_for(ptx: str) -> None:
    for name, (_, body) in entries(ptx).items():
        across, down, deep = SIGNATURES[name].block
        (most,) = re.findall(r"\.maxntid (\d+)", body + entries(ptx)[name][0]) or ("0",)
        assert across * down * deep == int(most), name
