"""The real TensorRT bindings with all that computes taken out: each call is held to the names, the
overloads and the types that the package's own signatures have, and answered by type.

Run as a program in a process of its own (its libraries are empty): takes Python files on standard
input, each a version of ``actors/inference/tensorrt_package.py``, exercises them and writes what
came of each.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

SHELLS = {"Builder", "Runtime", "OnnxParser"}
"""Made by calling into the libraries."""
PLAIN: dict[str, Callable[[Any], bool]] = {
    "typing.SupportsInt": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "typing_extensions.Buffer": lambda value: isinstance(value, bytes),
    "tuple": lambda value: isinstance(value, tuple),
    "list": lambda value: isinstance(value, list),
    "collections.abc.Sequence[typing.SupportsInt]": lambda value: isinstance(value, tuple | list),
}
SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+)$")


class Misuse(Exception):
    """A call that the real package would not take."""


class Answers:
    """What calls give where the type alone does not say; and what was called."""

    def __init__(self, fixed: dict[str, Any]) -> None:
        self.fixed = fixed
        self.calls: list[list[Any]] = []

    def of(self, owner: str, name: str, kind: str, trt: ModuleType, given: list[Any]) -> Any:
        self.calls.append([f"{owner}.{name}", [repr(each) for each in given]])
        answer = self.fixed.get(f"{owner}.{name}", self.fixed.get(name, self))
        if answer is not self:
            return answer(*given) if callable(answer) else answer
        kind = kind.rsplit(".", 1)[-1]
        if kind == "Dims":
            return trt.Dims((2, 3))
        if kind == "IHostMemory":
            return b"memory"
        plain = {"None": None, "bool": True, "int": 1, "str": "word", "list[str]": []}
        if kind in plain or kind == "list[str]":
            return plain[kind]
        real = getattr(trt, kind.lstrip("I") if kind == "IParserError" else kind)
        members = getattr(real, "__members__", None)
        return next(iter(members.values())) if members else Shell(real, trt, self)


class Shell:
    """An object of a class of the package, without what is behind it."""

    def __init__(self, real: type, trt: ModuleType, answers: Answers) -> None:
        self.__dict__.update(_real=real, _trt=trt, _answers=answers)

    def __repr__(self) -> str:
        return self._real.__name__

    def __getattr__(self, name: str) -> Any:
        found = inspect.getattr_static(self._real, name)  # AttributeError: there is none
        if not isinstance(found, property):
            return lambda *args, **named: self._called(name, args, named)
        kind = (found.fget.__doc__ or "").strip().rsplit("-> ", 1)[-1]
        return self._answers.of(self._real.__name__, name, kind, self._trt, [])

    def __setattr__(self, name: str, value: Any) -> None:
        found = inspect.getattr_static(self._real, name)
        if not isinstance(found, property) or found.fset is None:
            raise Misuse(f"{self!r}.{name} cannot be set")
        accept(self._trt, f"{self!r}.{name} =", found.fset.__doc__ or "", (self, value), {})
        self._answers.calls.append([f"{self!r}.{name} =", [repr(value)]])

    def _called(self, name: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        text = getattr(self._real, name).__doc__ or ""
        kind = accept(self._trt, f"{self!r}.{name}", text, (self, *args), named)
        given = [*args, *named.values()]
        return self._answers.of(self._real.__name__, name, kind, self._trt, given)


def accept(
    trt: ModuleType, what: str, text: str, args: tuple[Any, ...], named: dict[str, Any]
) -> str:
    """The type that the first overload that takes these arguments gives.

    Raises:
        Misuse: none does.
    """
    overloads = []
    for line in text.splitlines():
        # A setter has no name: "(arg0: ..., arg1: ...) -> None".
        match = SIGNATURE.match(line if line[:1] != "(" else f"set{line}")
        if match and "*args" not in match[2]:
            overloads.append((match[2], match[3]))
    for parameters, kind in overloads:
        if _fits(trt, _split(parameters), args, dict(named)):
            return kind
    raise Misuse(f"{what}{args[1:]}{named or ''}: wanted {[each for each, _ in overloads]}")


def _split(parameters: str) -> list[tuple[str, str, bool]]:
    """(name, type, whether it has a default) of each."""
    found, depth, start = [], 0, 0
    for place, letter in enumerate(parameters + ","):
        depth += (letter in "[<(") - (letter in "]>)")
        if letter == "," and depth == 0:
            name, _, rest = parameters[start:place].strip().partition(": ")
            kind, _, default = rest.partition(" = ")
            found.append((name, kind, bool(default)))
            start = place + 1
    return found


def _fits(
    trt: ModuleType,
    parameters: list[tuple[str, str, bool]],
    args: tuple[Any, ...],
    named: dict[str, Any],
) -> bool:
    if len(args) > len(parameters):
        return False
    for place, (name, kind, default) in enumerate(parameters):
        if place < len(args):
            value = args[place]
        elif name in named:
            value = named.pop(name)
        elif default:
            continue
        else:
            return False
        if not _is(trt, value, kind):
            return False
    return not named


def _is(trt: ModuleType, value: Any, kind: str) -> bool:
    if kind in PLAIN:
        return PLAIN[kind](value)
    real = trt
    for part in kind.removeprefix(f"{trt.__name__}.tensorrt.").split("."):
        real = getattr(real, part)
    found = value._real if isinstance(value, Shell) else type(value)
    return issubclass(found, real)  # type: ignore[arg-type]


class Module:
    """The package: what it has, with shells for what cannot be made here."""

    def __init__(self, trt: ModuleType, answers: Answers) -> None:
        self._trt, self._answers = trt, answers

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._trt, name)
        if name not in SHELLS:
            return real

        def make(*args: Any, **named: Any) -> Shell:
            shell = Shell(real, self._trt, self._answers)
            accept(self._trt, name, real.__init__.__doc__ or "", (shell, *args), named)
            return shell

        return make


def cupy() -> Any:
    """As much of CuPy as is asked for. Its names are checked where it is installed."""
    log: list[str] = []

    class CudaError(RuntimeError):
        def __init__(self, status: int) -> None:
            super().__init__(f"error {status}")
            self.status = status

    class Device:
        def __init__(self, number: int) -> None:
            self.number = number

        def __enter__(self) -> None:
            log.append("enter")

        def __exit__(self, *_: object) -> None:
            log.append("exit")

    class Stream:
        @classmethod
        def from_external(cls, handle: Any) -> Stream:
            assert handle.__cuda_stream__() == (0, 77)
            return cls()

        def begin_capture(self) -> None:
            log.append("begin")

        def end_capture(self) -> Any:
            log.append("end")
            return SimpleNamespace(launch=lambda stream: log.append("launch"))

    runtime = SimpleNamespace(
        getDeviceProperties=lambda number: {"name": b"A GPU", "major": 9, "minor": 0},
        runtimeGetVersion=lambda: 13020,
        CUDARuntimeError=CudaError,
    )
    cuda = SimpleNamespace(Device=Device, Stream=Stream, runtime=runtime)
    return SimpleNamespace(cuda=cuda, log=log)


def exercise(source: str, trt: ModuleType) -> dict[str, Any]:
    """Everything that the wrapper can do, once; what was called and what came of it."""
    from actors.inference.engines import BuildFlags

    wrapper = ModuleType("wrapper")
    sys.modules["wrapper"] = wrapper  # dataclasses look their module up
    exec(compile(source, "wrapper.py", "exec"), wrapper.__dict__)
    added: list[Any] = []
    answers = Answers(
        {
            "num_inputs": 2,
            "num_errors": 0,
            "num_io_tensors": 2,
            "num_optimization_profiles": 2,
            "ITensor.shape": lambda: trt.Dims((-1, 3)),
            "add_optimization_profile": lambda profile: added.append(profile) or len(added) - 1,
            "get_tensor_name": lambda number: f"tensor {number}",
            "get_tensor_mode": lambda name: trt.TensorIOMode.INPUT,
            "get_device_memory_size_for_profile_v2": lambda profile: 1000 + profile,
        }
    )
    gpu = cupy()
    api = wrapper.TensorRtPackage(Module(trt, answers), gpu, 0)
    draft = api.read(Path("network.onnx"))
    name = draft.inputs[0].name
    profiles = [{name: (rows, 3)} for rows in (1, 2)]
    built = draft.build(profiles, BuildFlags(), b"timing")
    engine = api.load(built[0])
    context = engine.context()
    context.use_memory(256, 1000)
    done = [
        context.use_profile(1, 77),
        context.set_shape(name, (2, 3)),
        context.set_address(name, 512),
        context.enqueue(77),
    ]
    context.record(77).launch(77)
    failures = []
    for status in (2, 700):
        try:
            with api._gpu.current():
                raise gpu.cuda.runtime.CUDARuntimeError(status)
        except (MemoryError, wrapper.GpuFailed) as error:
            failures.append(type(error).__name__)
    notes = api._notes
    notes.logger.log(trt.ILogger.ERROR, "it hurts")
    notes.logger.log(trt.ILogger.INFO, "all is well")
    notes.recorder.report_error(trt.ErrorCodeTRT.FAILED_ALLOCATION, "no room")
    short = False
    try:
        notes.demand_memory()
    except MemoryError:
        short = True
    return {
        "platform": [api.platform.tensorrt, api.platform.gpu, api.platform.capability],
        "inputs": [repr(each) for each in draft.inputs],
        "plan": [each.decode() for each in built],
        "tensors": [repr(each) for each in engine.tensors],
        "workspaces": [engine.workspace(profile) for profile in range(engine.profiles)],
        "done": done,
        "unknown": context.unknown(),
        "shape": context.shape(name),
        "complaint": context.complaint,
        "errors": notes.recorder.num_errors(),
        "out of memory": short,
        "gpu": gpu.log,
        "failures": failures,
        "calls": answers.calls,
    }


def main() -> None:
    trt = importlib.import_module("tensorrt_bindings")
    found = []
    for source in json.load(sys.stdin):
        try:
            found.append(exercise(source, trt))
        except (Misuse, AttributeError, TypeError) as error:
            found.append({"error": f"{type(error).__name__}: {error}"})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
