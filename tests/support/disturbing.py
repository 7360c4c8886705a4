"""Faults for running processes, drawn by a seed, struck by pid only, and lifted after a while."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import psutil

from tests.support.scene import ring_of

KINDS: Final = (
    "kill actor",
    "freeze actor",
    "zombie",
    "starve actor",
    "kill raylet",
    "freeze raylet",
    "kill head",
    "freeze head",
    "kill command",
    "freeze command",
)
"""*zombie*: an actor is frozen while its lane dies, and wakes when its chunk is someone else's."""
_COSTLY: Final = frozenset({"kill actor", "zombie", "kill raylet", "kill head"})
"""Each may cost every chunk under way one of its three attempts."""
_DEADLY: Final = {
    "kill command": {-signal.SIGKILL},
    # Ray ends the process that speaks with it when its object store is gone while it is in use,
    # or after a minute without its head.
    "kill raylet": {1},
    "kill head": {1},
}
"""Faults from which the command may die, and its exit codes then."""
_BURN: Final = (
    "import time, sys\nuntil = time.time() + float(sys.argv[1])\nwhile time.time() < until: pass"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is done to a running job, and when."""

    kind: str
    moment: float
    """0..1: struck when this share of the job's frames, analysed or rendered, is done."""
    delay: float
    """Seconds later than that."""
    seconds: float
    """For which it lasts, where it does."""
    choice: float
    """0..1: which of several processes is struck."""


def draw(
    seed: int, faults: int, each: int, longest: float, kinds: Sequence[str] = KINDS
) -> list[list[Fault]]:
    """The faults of several jobs, in the order in which they are struck.

    Every kind comes as often as any other, and no job has more costly ones than chunks have
    attempts to spare.

    Args:
        faults: in all jobs together.
        each: in one job, at most.
        longest: seconds that a process is frozen or starved; 5 at least.
        kinds: to draw from.
    """
    drawn = random.Random(seed)
    left: list[str] = []
    jobs: list[list[Fault]] = []
    missing = faults
    while missing:
        chosen: list[str] = []
        while len(chosen) < min(each, missing):
            spared = sum(kind in _COSTLY for kind in chosen) < 2
            fits = [kind for kind in left if spared or kind not in _COSTLY]
            if fits:
                chosen.append(fits[0])
                left.remove(fits[0])
            else:
                left += drawn.sample(kinds, len(kinds))
        missing -= len(chosen)
        moments = sorted(drawn.uniform(0.0, 0.9) for _ in chosen)
        jobs.append(
            [
                Fault(
                    kind=kind,
                    moment=moment,
                    delay=drawn.uniform(0.0, 0.5),
                    seconds=drawn.uniform(5.0, longest),
                    choice=drawn.random(),
                )
                for kind, moment in zip(chosen, moments, strict=True)
            ]
        )
    return jobs


class Victims(Protocol):
    """A job at work, seen from outside; ``tests.support.command.Farm`` says what is what."""

    process: Any
    """Of the command: has a ``pid``, and can be killed."""
    events: list[dict[str, object]]

    @property
    def complaints(self) -> str: ...
    @property
    def running(self) -> bool: ...
    @property
    def up(self) -> bool: ...
    @property
    def share(self) -> float: ...
    def family(self) -> list[psutil.Process]: ...
    def end(self, seconds: float = 200) -> int: ...


class Disturber:
    """Strikes a running command. Use as a context manager: in the end all that lasts is lifted."""

    def __init__(self) -> None:
        self._lifts: list[tuple[threading.Timer, Callable[[], None]]] = []
        self._burners: list[subprocess.Popen[bytes]] = []
        self.struck: list[str] = []
        """What was done, in words."""

    def __enter__(self) -> Disturber:
        return self

    def __exit__(self, *_: object) -> None:
        self.lift()

    def lift(self) -> None:
        """Ends at once all that lasts."""
        for timer, lift in self._lifts:
            timer.cancel()
            timer.join()
            lift()
        self._lifts = []
        for burner in self._burners:
            burner.kill()
            burner.wait()
        self._burners = []

    def strike(self, farm: Victims, fault: Fault) -> bool:
        """Do it; False where there is nobody to do it to (now)."""
        action, _, who = fault.kind.partition(" ")
        try:
            victim = _victim(farm, who or "actor", fault.choice)
            if victim is None:
                return False
            words = f"{fault.kind}: {victim.name()} {victim.pid}"
            match action:
                case "kill":
                    victim.kill()
                case "freeze":
                    self._freeze(victim, fault.seconds)
                    words += f" for {fault.seconds:.1f} s"
                case "starve":
                    self._starve(victim, fault.seconds)
                    words += f" for {fault.seconds:.1f} s"
                case "zombie":
                    ring = ring_of(victim)
                    others = [p for p in _actors(farm) if p != victim and ring_of(p) == ring]
                    if ring is None or not others:
                        return False
                    self._freeze(victim, fault.seconds)
                    others[0].kill()
                    words += f" for {fault.seconds:.1f} s, its neighbour {others[0].pid} killed"
        except psutil.NoSuchProcess:
            return False
        self.struck.append(words)
        return True

    def _freeze(self, victim: psutil.Process, seconds: float) -> None:
        victim.suspend()
        self._after(seconds, lambda: _quietly(victim.resume))

    def _starve(self, victim: psutil.Process, seconds: float) -> None:
        """Last in line on a core that somebody else keeps busy."""
        core = max(os.sched_getaffinity(0))
        command = ["taskset", "--cpu-list", str(core), sys.executable, "-c", _BURN, str(seconds)]
        self._burners.append(subprocess.Popen(command))
        allowed = victim.cpu_affinity()
        threads = [thread.id for thread in victim.threads()]
        for thread in threads:
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread, {core})
                os.setpriority(os.PRIO_PROCESS, thread, 19)

        def feed() -> None:
            for thread in threads:
                with suppress(ProcessLookupError, PermissionError):
                    os.sched_setaffinity(thread, allowed)
                    os.setpriority(os.PRIO_PROCESS, thread, 0)

        self._after(seconds, feed)

    def _after(self, seconds: float, lift: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, lift)
        timer.daemon = True
        timer.start()
        self._lifts.append((timer, lift))


def _quietly(act: Callable[[], object]) -> None:
    with suppress(psutil.NoSuchProcess):
        act()


def _victim(farm: Victims, who: str, choice: float) -> psutil.Process | None:
    if who == "command":
        return psutil.Process(farm.process.pid)
    if who == "actor":
        found: Sequence[psutil.Process] = _actors(farm)
    else:
        name = {"head": "gcs_server", "service": "FarmHost"}.get(who, who)
        found = [p for p in farm.family() if _name(p) == name or f"ray::{name}" in _name(p)]
    return found[int(choice * len(found))] if found else None


def _actors(farm: Victims) -> list[psutil.Process]:
    return sorted(
        (p for p in farm.family() if "StageShell" in _name(p)), key=lambda process: process.pid
    )


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


@dataclass(slots=True, kw_only=True)
class Story:
    """What came of one job under its faults."""

    lives: int = 0
    """Starts of the command."""
    struck: list[str]
    wrong: list[str]
    """What must not happen and did."""


def disturb(start: Callable[[], Victims], faults: Sequence[Fault], *, patience: float) -> Story:
    """Run a job under faults to its end, starting the command anew when it died.

    Args:
        start: starts the command.
        patience: seconds in which a command must end, or come to the next fault's moment.
    """
    story = Story(struck=[], wrong=[])
    todo = list(faults)
    with Disturber() as disturber:
        story.struck = disturber.struck
        while True:
            farm, deaths = start(), set[int]()
            story.lives += 1
            while todo and farm.running and -signal.SIGKILL not in deaths:
                fault = todo[0]
                if not _reached(farm, fault, patience):
                    break
                time.sleep(fault.delay)
                if disturber.strike(farm, fault):
                    todo.pop(0)
                    deaths |= _DEADLY.get(fault.kind, set())
                else:
                    time.sleep(0.1)  # its victim is not up at this very moment
            code = _end(farm, story, patience)
            if code == 0 and not todo:
                return story
            if code == 0:  # it was faster than its faults: those that are left meet it earlier
                todo = [replace(fault, moment=fault.moment / 2) for fault in todo]
            elif code not in deaths:
                error = farm.events[-1] if farm.events else {}
                told = f"{error.get('code')}: {error.get('found')}"
                story.wrong.append(f"exit {code} ({told}) {farm.complaints[-2000:]}")
                return story


def _reached(farm: Victims, fault: Fault, patience: float) -> bool:
    """Whether the command came as far as the fault's moment."""
    until = time.monotonic() + patience
    while time.monotonic() < until and farm.running:
        if farm.share >= fault.moment and farm.up:
            return True
        time.sleep(0.05)
    return False


def _end(farm: Victims, story: Story, patience: float) -> int:
    try:
        return farm.end(patience)
    except subprocess.TimeoutExpired:
        story.wrong.append(f"no end within {patience} s: {farm.events[-1:]}")
        farm.process.kill()
        farm.end()
        return 99
