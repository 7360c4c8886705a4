"""The options as parameters of a command: declared by the model, parsed by Typer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, TypeVar

import typer

from farm.options.catalogue import Option, catalogue, shown
from scheduler.errors import SettingInvalid

Command = TypeVar("Command", bound=Callable[..., Any])

SOURCES: Final = frozenset({"-s", "--source", "--source-paths", "--source-pattern"})
OF_A_RUN: Final = frozenset(
    {"device_ids", "lanes", "lane.processes", "address", "ray", "license_policy"}
)
"""Options on where and under which rules a job runs: a step does not keep them."""
NOT_OF_A_STEP: Final = frozenset({"keep"})
"""What a job of several steps has no use for: its folders stay until its end in any case."""
MINUS: Final = "\N{MINUS SIGN}"
"""What no flag begins with."""
STEP_VERBS: Final = ("remix-step", "insert-step", "remove-step")
TARGETS: Final = frozenset({"-t", "--target", "--target-path", "--target-pattern"})

_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")


def _help(option: Option) -> str:
    assert option.flag is not None
    sentences = [option.flag.help]
    words = [word for word in option.words if word]
    if words:
        sentences.append(("Some of: " if option.many else "One of: ") + ", ".join(words) + ".")
    elif option.range:
        sentences.append(f"{option.range}.")
    unset = option.flag.unset or shown(option.default)
    if option.many and words and tuple(words) == option.default:
        unset = "all"
    sentences.append(f"[{unset}]" if unset and not option.switch else "")
    return " ".join(filter(None, sentences))


def _parameters(option: Option) -> Iterator[inspect.Parameter]:
    flag = option.flag
    assert flag is not None
    names = list(flag.names)
    annotation: Any = str | None
    if option.switch:
        annotation = bool | None
        names[0] += f"/{flag.off}" if flag.off else ""
    elif option.many:
        annotation = list[str] | None
    words = option.words
    info = typer.Option(
        *names,
        metavar=None if option.switch else flag.metavar or "NAME",
        show_default=False,
        help=_help(option),
        rich_help_panel=option.panel or None,
        autocompletion=(lambda incomplete: [w for w in words if w.startswith(incomplete)])
        if words
        else None,
    )
    yield _keyword(option.parameter, Annotated[annotation, info], None)
    if option.many and flag.off:
        empty = typer.Option(flag.off, help="None of them.", rich_help_panel=option.panel)
        yield _keyword(f"no_{option.parameter}", Annotated[bool, empty], False)


def _keyword(name: str, annotation: Any, default: object) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def with_options(command: Command) -> Command:
    """Give a command that ends in ``**options`` a parameter for each option that has a flag.

    What the user gave arrives in ``options``; ``given`` turns it into a layer of settings.
    """
    return _with(command, lambda option: True)


def with_step_options(command: Command) -> Command:
    """The same for the options that a step of a job keeps."""
    return _with(command, lambda option: option.name not in OF_A_RUN | NOT_OF_A_STEP)


def with_run_options(command: Command) -> Command:
    """The same for the options that whoever runs a job decides."""
    return _with(command, lambda option: option.name in OF_A_RUN)


def with_parameters_of(other: Callable[..., Any]) -> Callable[[Command], Command]:
    """Give a command that ends in ``**options`` the parameters of another function, too."""

    def give(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        *fixed, rest = own.parameters.values()
        shared = inspect.signature(other, eval_str=True).parameters.values()
        kind = inspect.Parameter.KEYWORD_ONLY
        parameters = [each.replace(kind=kind) for each in (*fixed, *shared)]
        command.__signature__ = own.replace(parameters=[*parameters, rest])  # type: ignore[attr-defined]
        return command

    return give


def _with(command: Command, wanted: Callable[[Option], bool]) -> Command:
    own = inspect.signature(command, eval_str=True)
    fixed = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    chosen = [option for option in catalogue() if option.flag and wanted(option)]
    added = [p for option in chosen for p in _parameters(option)]
    parameters = [*(p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in fixed), *added]
    command.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the user gave, as a settings file would have them.

    Raises:
        SettingInvalid: a list both named and emptied.
    """
    layer: dict[str, Any] = {}
    for option in catalogue():
        value = options.get(option.parameter)
        if options.get(f"no_{option.parameter}"):
            if value is not None and option.flag is not None:
                raise SettingInvalid(
                    f"{option.flag.names[0]} {' '.join(value)} with {option.flag.off}",
                    "one of them",
                    "leave one of them out",
                )
            value = []
        if value is None:
            continue
        *section, key = option.path
        place = layer.setdefault(section[0], {}) if section else layer
        place[key] = value
    return layer


def spread(arguments: Sequence[str]) -> list[str]:
    """Lists written with spaces, as in ``--face-mask-types box occlusion``, one flag for each.

    Words behind such a flag belong to it as long as they are among its words (or numbers, where it
    takes numbers). Files behind ``-s`` do where ``-t`` says that none of them is the target; in a
    batch, files behind either.
    """
    arguments = _from_the_end(arguments)
    lists = {
        name: option
        for option in catalogue()
        if option.flag and option.many
        for name in option.flag.names
    }
    files = SOURCES if not TARGETS.isdisjoint(arguments) else frozenset[str]()
    if "batch" in arguments:  # a pattern that the shell has resolved
        files = SOURCES | TARGETS
    out: list[str] = []
    current, fresh = "", False
    for argument in arguments:
        if argument.startswith("-") and not _NUMBER.fullmatch(argument):
            current, fresh = argument, True
            out.append(argument)
            continue
        option = lists.get(current)
        fits = current in files or (option is not None and _fits(option, argument))
        if not fresh and fits:
            out.append(current)
        elif not fresh:
            current = ""
        fresh = False
        out.append(argument)
    return out


def _from_the_end(arguments: Sequence[str]) -> Sequence[str]:
    """A step counted from the end, as in ``remix-step NAME -1``, written so that it is no flag."""
    for at, verb in enumerate(arguments[:-2]):
        index = arguments[at + 2]
        if verb in STEP_VERBS and _NUMBER.fullmatch(index):
            return [*arguments[: at + 2], index.replace("-", MINUS), *arguments[at + 3 :]]
    return arguments


def _fits(option: Option, argument: str) -> bool:
    parts = [part for part in argument.split(",") if part]
    words = option.words
    return bool(parts) and all(
        part in words if words else bool(_NUMBER.fullmatch(part)) for part in parts
    )
