"""Signatures of packages that are too large to install for `make test`, pinned in a data file, and
objects that take only the calls that these signatures allow.

    python tests/support/pinned_api.py FOLDER

reads them anew from packages that were unpacked into a folder (``pip install --no-deps --target``).
Which names are pinned is what the file lists; add one with an empty list of signatures. Of compiled
modules the signatures are in the documentation of their functions: they are imported, which needs
the driver's library or an empty one of its name (LD_LIBRARY_PATH).
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path
from types import ModuleType
from typing import Any, Final

DATA: Final = Path(__file__).resolve().parents[1] / "data" / "pinned_api.json"
_PLAIN: Final = {"int": int, "str": str, "bool": bool, "float": (int, float), "bytes": bytes}
_INDEX: Final = {"SupportsInt", "SupportsIndex"}


class MisuseError(Exception):
    """A call that the real package would not take."""


def pinned(package: str) -> dict[str, Any]:
    """What is known of a package: distribution, version, and names with their signatures."""
    known: dict[str, dict[str, Any]] = json.loads(DATA.read_text("utf-8"))
    return known[package]


def read_signatures(source: str, name: str) -> list[str]:
    """What a Python or stub file says of a name ("f", "Class.f", "Class.ATTRIBUTE", "Class").

    Each overload of a function; of an attribute its type.

    Raises:
        LookupError: it has no such name.
    """
    *outer, last = name.split(".")
    bodies: list[list[ast.stmt]] = [ast.parse(source).body]
    for part in outer:
        bodies = [each.body for body in bodies for each in body if _named(each, part)]  # type: ignore[attr-defined]
    found = [text for body in bodies for each in body for text in _said(each, last)]
    if not found:
        raise LookupError(f"no {name}")
    overloads = [each for each in found if each.startswith("@")]
    return [each.removeprefix("@") for each in overloads or found]


def compiled_signatures(module: ModuleType, name: str) -> list[str]:
    """The same of a name in a module that pybind11 made.

    Raises:
        LookupError: it has no such name.
    """
    found: Any = module
    for part in name.split("."):
        try:
            found = inspect.getattr_static(found, part)
        except AttributeError as error:
            raise LookupError(f"no {name}") from error
    if isinstance(found, staticmethod):
        found = found.__func__
    if isinstance(found, type):
        return ["class()"]
    if isinstance(found, property):
        kind = _plain(module, (found.fget.__doc__ or "").strip()).rpartition("-> ")[2]
        return [f"property{' set' if found.fset else ''} -> {kind or 'Any'}"]
    overloads = [
        match for line in (found.__doc__ or "").splitlines() if (match := _DOCUMENTED.match(line))
    ]
    if not overloads or not callable(found):
        return [type(found).__name__]
    signatures = [_plain(module, f"({each[2]}) -> {each[3]}") for each in overloads]
    return [each for each in signatures if not each.startswith("(*args")]


_DOCUMENTED: Final = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+)$")


def _plain(module: ModuleType, text: str) -> str:
    """A documented signature as Python: without the module's name, defaults as dots, arguments
    without names as such."""
    text = re.sub(r"= (<[^>]*>|[^,)]+)", "= ...", text.replace(f"{module.__name__}.", ""))
    return re.sub(r"(arg\d+: [^,)]+(?:\[[^\]]*\])?)\)", r"\1, /)", text)


def compiled(path: Path) -> ModuleType:
    """A compiled module by its file."""
    name = f"_{path.parent.name}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def signatures_in(folder: Path, file: str, name: str) -> list[str]:
    """What a package says of a name.

    Args:
        file: in the folder; ``*`` stands for what depends on Python and the machine.

    Raises:
        LookupError: it has no such file or name.
    """
    path = next(iter(folder.glob(file)), None)
    if path is None:
        raise LookupError(f"no {file}")
    if path.suffix == ".so":
        return compiled_signatures(_compiled(path), name)
    return read_signatures(path.read_text("utf-8"), name)


_compiled = cache(compiled)


def _named(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.ClassDef) and node.name == name


def _said(node: ast.stmt, name: str) -> Iterator[str]:
    match node:
        case ast.ClassDef(name=found) if found == name:
            yield f"class({', '.join(map(ast.unparse, node.bases))})"
        case ast.FunctionDef(name=found) if found == name:
            gives = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            marks = [ast.unparse(each) for each in node.decorator_list]
            start = "@" if any(mark.endswith("overload") for mark in marks) else ""
            if "property" in marks or any(mark.endswith("property") for mark in marks):
                yield f"property{gives}"
            else:
                yield f"{start}({ast.unparse(node.args)}){gives}"
        case ast.AnnAssign(target=ast.Name(id=found)) if found == name:
            yield ast.unparse(node.annotation)
        case ast.Assign(targets=[ast.Name(id=found)]) if found == name:
            yield ast.unparse(node.value)
        case ast.If() | ast.Try():
            for inner in node.body:
                yield from _said(inner, name)


def installed(package: str, folder: Path) -> dict[str, Any]:
    """The pinned names with what a package that is there says of them.

    Raises:
        LookupError: it has no such name.
    """
    return {
        name: {**known, "signatures": signatures_in(folder, known["file"], known["is"])}
        for name, known in pinned(package)["names"].items()
    }


def folder_of(distribution: Distribution) -> Path:
    """Where a distribution's packages are."""
    return Path(str(distribution.locate_file("")))


class Api:
    """A package's module, or an object of one of its classes, that takes only what is pinned.

    Args:
        package: in the data file.
        path: of this object in the package.
        answers: what names give where their types do not say enough; called, if they can be.
        names: what is known of the package; None: what is pinned.
        calls: grows by each call: its name, arguments and named arguments.
    """

    def __init__(
        self,
        package: str,
        answers: dict[str, Any] | None = None,
        *,
        names: dict[str, Any] | None = None,
        path: str = "",
        calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] | None = None,
    ) -> None:
        self.__dict__.update(
            _package=package,
            _names=pinned(package)["names"] if names is None else names,
            _answers=answers or {},
            _path=path,
            calls=[] if calls is None else calls,
        )

    def __repr__(self) -> str:
        return f"{self._package}.{self._path}".rstrip(".")

    def __getattr__(self, name: str) -> Any:
        path = f"{self._path}.{name}".lstrip(".")
        known = self._names.get(path)
        if known is None:
            if any(each.startswith(f"{path}.") for each in self._names):
                return self._made(path)
            raise AttributeError(f"{self!r} has no {name}")
        signatures: list[str] = known["signatures"]
        if signatures[0].startswith("("):
            return lambda *args, **named: self._call(path, signatures, args, named)
        if signatures[0].startswith("class("):
            return self._made(path)
        if path in self._answers:
            return self._answers[path]
        return self._of_kind(signatures[0].rpartition("-> ")[2])

    def __call__(self, *args: Any, **named: Any) -> Any:
        """A new object of a class."""
        for maker in ("__init__", "__new__"):
            known = self._names.get(f"{self._path}.{maker}")
            if known is not None:
                self._call(f"{self._path}.{maker}", known["signatures"], args, named)
                return self._made(self._path)
        raise MisuseError(f"{self!r} cannot be called")

    def __setattr__(self, name: str, value: Any) -> None:
        path = f"{self._path}.{name}"
        said = self._names.get(path, {"signatures": [""]})["signatures"][0]
        if not said.startswith("property set"):
            raise MisuseError(f"{self!r}.{name} cannot be set")
        if not self._fits(value, said.rpartition("-> ")[2]):
            raise MisuseError(f"{self!r}.{name} = {value!r}: wanted {said}")
        self.calls.append((f"{path} =", (value,), {}))

    def _call(
        self, path: str, signatures: Sequence[str], args: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:
        for text in signatures:
            gives = self._accepts(text, args, named)
            if gives is not None:
                self.calls.append((path, args, named))
                answer = self._answers.get(path, self)
                if answer is not self:
                    return answer(*args, **named) if callable(answer) else answer
                return self._of_kind(gives)
        raise MisuseError(f"{self._package}.{path}{args}{named or ''}: wanted {signatures}")

    def _accepts(self, text: str, args: tuple[Any, ...], named: dict[str, Any]) -> str | None:
        """The type that a call gives; None: it has other arguments."""
        tree = ast.parse(f"def f{text}: ...").body[0]
        assert isinstance(tree, ast.FunctionDef)
        taken = tree.args
        held = [*taken.posonlyargs, *taken.args]
        own = bool(held) and held[0].arg in ("self", "cls")
        signature = _signature(taken)
        try:
            bound = signature.bind(*((self,) if own else ()), *args, **named)
        except TypeError:
            return None
        kinds = {
            each.arg: ast.unparse(each.annotation)
            for each in [*held, *taken.kwonlyargs]
            if each.annotation is not None
        }
        for name, value in bound.arguments.items():
            if name in kinds and not self._fits(value, kinds[name]):
                return None
        return ast.unparse(tree.returns) if tree.returns else "Any"

    def _fits(self, value: Any, kind: str) -> bool:
        kinds = [each.strip().strip("'\"") for each in _alternatives(kind)]
        return any(self._is(value, each) for each in kinds)

    def _is(self, value: Any, kind: str) -> bool:
        if isinstance(value, Api):
            if value._path not in self._names:  # of a type of which nothing is known
                return kind not in _PLAIN
            (said,) = self._names[value._path]["signatures"]
            bases = said.removeprefix("class(").rstrip(")").split(", ")
            own = {each.rpartition(".")[2] for each in (value._path, *bases)}
            return kind.rpartition(".")[2] in own | {"Any", "object"}
        if kind in _PLAIN:
            return isinstance(value, _PLAIN[kind]) and (  # type: ignore[arg-type]
                kind == "bool" or not isinstance(value, bool)
            )
        if kind in _INDEX:
            return isinstance(value, int)
        if kind == "None":
            return value is None
        if kind == "ExternalBuffer":
            return hasattr(value, "__cuda_array_interface__")
        # A plain value is of no class of the package's; of other types nothing is known.
        return kind not in self._names

    def _of_kind(self, kind: str) -> Any:
        kind = _alternatives(kind)[0].strip().strip("'\"")
        if kind.startswith(("list[", "List[", "tuple[")):
            inner = kind.partition("[")[2].rstrip("]").partition(",")[0]
            return [self._of_kind(inner), self._of_kind(inner)]
        if kind.startswith("ClassVar["):
            kind = kind.partition("[")[2].rstrip("]")
        plain = {"None": None, "int": 1, "str": "word", "bool": True, "float": 1.0}
        return plain[kind] if kind in plain else self._made(kind.rpartition(".")[2])

    def _made(self, path: str) -> Api:
        return Api(self._package, self._answers, names=self._names, path=path, calls=self.calls)

    # What tensors and flags are calculated with

    def _operator(name: str) -> Callable[..., Any]:  # type: ignore[misc]
        def operate(self: Api, *given: Any) -> Any:
            known = self._names.get(f"{self._path}.{name}")
            if known is None:
                raise TypeError(f"{self!r} has no {name}")
            return self._call(f"{self._path}.{name}", known["signatures"], given, {})

        return operate

    __or__ = _operator("__or__")
    __add__ = _operator("__add__")
    __sub__ = _operator("__sub__")
    __mul__ = _operator("__mul__")
    __rmul__ = _operator("__rmul__")
    __truediv__ = _operator("__truediv__")
    __getitem__ = _operator("__getitem__")
    __enter__ = _operator("__enter__")

    def __exit__(self, *given: object) -> None:
        path = f"{self._path}.__exit__"
        self._call(path, self._names[path]["signatures"], given, {})


def _alternatives(kind: str) -> list[str]:
    """The members of a union."""
    tree = ast.parse(kind, mode="eval").body
    if isinstance(tree, ast.Subscript) and ast.unparse(tree.value).endswith(("Optional", "Union")):
        inner = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        none = ["None"] if ast.unparse(tree.value).endswith("Optional") else []
        return [part for each in inner for part in _alternatives(ast.unparse(each))] + none
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        return _alternatives(ast.unparse(tree.left)) + _alternatives(ast.unparse(tree.right))
    return [kind]


def _signature(taken: ast.arguments) -> inspect.Signature:
    kind = inspect.Parameter
    held = [*taken.posonlyargs, *taken.args]
    bare = len(held) - len(taken.defaults)
    parameters = [
        kind(
            each.arg,
            kind.POSITIONAL_ONLY if number < len(taken.posonlyargs) else kind.POSITIONAL_OR_KEYWORD,
            default=kind.empty if number < bare else None,
        )
        for number, each in enumerate(held)
    ]
    if taken.vararg is not None:
        parameters.append(kind(taken.vararg.arg, kind.VAR_POSITIONAL))
    parameters += [
        kind(each.arg, kind.KEYWORD_ONLY, default=kind.empty if default is None else None)
        for each, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True)
    ]
    if taken.kwarg is not None:
        parameters.append(kind(taken.kwarg.arg, kind.VAR_KEYWORD))
    return inspect.Signature(parameters)


def main(folder: Path) -> None:
    """Read all that is in a folder anew."""
    known = json.loads(DATA.read_text("utf-8"))
    for facts in known.values():
        for info in folder.glob("*.dist-info"):
            distribution = PathDistribution(info)
            if distribution.metadata["Name"].lower() != facts["distribution"]:
                continue
            facts["version"] = distribution.version
            for each in facts["names"].values():
                each["signatures"] = signatures_in(folder, each["file"], each["is"])
    DATA.write_text(json.dumps(known, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
