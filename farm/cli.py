"""The command line ``farm``. Commands live in farm/commands; here errors become words and codes."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from farm.commands import bench, doctor, job, jobs, models, nodes, service
from farm.commands import config as config_command
from farm.commands.batch import batch
from farm.commands.faces import faces
from farm.commands.preview import preview
from farm.commands.report import report
from farm.commands.submit import submit
from farm.commands.verify import verify
from farm.config import load_settings
from farm.options.flags import spread
from farm.progress import JsonDisplay, printable
from scheduler.errors import SettingInvalid, SwapfarmError

FARM: Final = "A farm for many jobs"
"""Heading of the commands on the service."""

app = typer.Typer(
    name="farm",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Errors and exit codes: docs/errors.md. Events of --json: docs/events.md.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"farm {version('swapfarm')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def farm(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            show_default=False,
            help="Settings file (TOML) instead of ~/.config/swapfarm/config.toml.",
        ),
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Print the version and leave.",
        ),
    ] = False,
) -> None:
    """Put one person's face on the faces of a video, and lose no frame of it.

    Start here:

    - `farm doctor`: can this machine do it?
    - `farm submit film.mp4 --source face.jpg`: makes film.swapped.mp4 beside the film
    - `farm submit film.mp4 -s face.jpg -o out.mp4 --contact-sheet out.png`: before and after, too
    - `farm faces film.mp4`: who is in it, to swap several people (`farm submit --swap A=face.jpg`)
    - `farm batch -s 'faces/*.jpg' -t 'films/*.mp4' -o 'out/{target_name}{target_extension}'`: many
    - `farm report film.swapped.mp4`: how good the result is, in numbers and as a page
    - `farm verify film.swapped.mp4`: what the result says, signed, of its origin
    - `farm config show`: every setting, and where its value comes from
    - `farm up`, `farm submit ... --detach`, `farm jobs`: a farm that takes many jobs
    - `farm models list`: models, their licences, and what is here

    Swap only faces of people who agreed to it; results are marked as altered.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit
    context.obj = load_settings(config)


app.command("submit")(submit)
app.command("batch")(batch)
app.command("faces")(faces)
app.command("report")(report)
app.command("verify")(verify)
app.add_typer(models.app, name="models")
app.add_typer(config_command.app, name="config")
app.command("doctor")(doctor.doctor)
app.command("up", rich_help_panel=FARM)(service.up)
app.command("down", rich_help_panel=FARM)(service.down)
for _verb in (
    jobs.jobs,
    jobs.show,
    jobs.watch,
    jobs.logs,
    jobs.pause,
    jobs.resume,
    jobs.cancel,
    jobs.retry,
    jobs.requeue,
    jobs.priority,
    jobs.rm,
):
    app.command(_verb.__name__, rich_help_panel=FARM)(_verb)
app.command("preview", rich_help_panel=FARM)(preview)
app.add_typer(job.app, name="job", rich_help_panel=FARM)
app.add_typer(nodes.app, name="nodes", rich_help_panel=FARM)
app.add_typer(bench.app, name="bench", rich_help_panel=FARM)
app.add_typer(service.journal, name="journal", rich_help_panel=FARM)


def _report(error: SwapfarmError, as_json: bool) -> int:
    sys.stdout.flush()
    print(
        f"error[{error.code}]: {printable(error.found)}\n"
        f"  wanted: {printable(error.wanted)}\n"
        f"  next:   {printable(error.next_step)}",
        file=sys.stderr,
    )
    if as_json:
        JsonDisplay(sys.stdout).event(
            "error",
            code=error.code,
            found=error.found,
            wanted=error.wanted,
            next=error.next_step,
            exit_code=error.exit_code,
        )
    return error.exit_code


def _usage_error(error: typer.TyperException) -> SettingInvalid:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "farm"
    usage = context.get_usage().removeprefix("Usage: ") if context else "farm COMMAND ..."
    return SettingInvalid(
        error.format_message().rstrip("."), " ".join(usage.split()), f"see {command} --help"
    )


def _crash(error: Exception) -> SwapfarmError:
    """Write the traceback where the user can find it: a file, or stderr if no file can be."""
    lines = [
        f"farm {version('swapfarm')}, Python {sys.version.split()[0]}\n",
        f"{' '.join(sys.argv)}\n\n",
        *traceback.format_exception(error),
    ]
    name = f"farm-crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        report = Path(tempfile.gettempdir(), name)
        report.write_text("".join(lines), encoding="utf-8")
        place = f"the file {report}"
    except OSError:
        print("".join(lines), file=sys.stderr)
        place = "the lines above"
    return SwapfarmError(
        f"{type(error).__name__}: {error}",
        "no error that swapfarm does not foresee",
        f"report this as a bug with {place}",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``farm``; returns the exit code (docs/errors.md lists them)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is not UTF-8 is printed as the bytes that it is.
        sys.stdout.reconfigure(errors="surrogateescape")
    try:
        result = app(args=spread(arguments), prog_name="farm", standalone_mode=False)
        sys.stdout.flush()
    except SwapfarmError as error:
        return _report(error, as_json)
    except typer.TyperException as error:
        return _report(_usage_error(error), as_json)
    except BrokenPipeError:
        # Whoever read our output has gone (farm ... | head): not an error worth words. The
        # interpreter flushes stdout once more on its way out; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort turns any bug into a report
        return _report(_crash(error), as_json)
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main())
