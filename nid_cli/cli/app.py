"""The Typer app, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Annotated

import typer

from nid_cli import stopping
from nid_cli.cli.commands import Lazy
from nid_cli.cli.render import OutputClosed, say
from nid_cli.errors import NidError
from nid_cli.version import __version__

BROKEN_PIPE = 141

app = typer.Typer(
    name="nid",
    cls=Lazy,
    help="The neuron-identifiability laboratory: train groups of networks, measure and draw how they connect.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 registry locked or of another version, "
    "5 integrity, 130 interrupted, 141 broken pipe.",
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"nid {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run(arguments: list[str] | None = None) -> int:
    """Runs one command line; returns its exit code."""
    try:
        return _run(arguments)
    finally:
        stopping.over()


def _run(arguments: list[str] | None) -> int:
    try:
        code = app(arguments, standalone_mode=False, prog_name="nid")
        if code == stopping.EXIT_CODE:  # Typer's word for it
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except NidError as error:
        _explain(error.message, error.hint)
        return _unless_debugging(error, error.exit_code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            with suppress(OSError):
                print(error.format_message(), file=sys.stderr)
            return 2
        hint = f"{context.command_path} --help shows its options" if context else None
        _explain(" ".join(error.format_message().split()), hint)
        return _unless_debugging(error, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except (OutputClosed, SystemExit):  # Typer leaves where its help meets a closed pipe
        return BROKEN_PIPE
    except MemoryError:
        _explain("there is not enough memory for this", "use fewer workers, or a smaller --data train-size")
        return 1
    except OSError as error:
        _explain(f"cannot read or write: {error.strerror or error}", None)
        return _unless_debugging(error, 1)
    except Exception as error:
        if stopping.was_requested():  # an import that a signal cuts off fails in its own words
            return _interrupted()
        _explain(
            f"an error in nid itself: {type(error).__name__}: {error}", "NID_DEBUG=1 shows where; please report it"
        )
        return _unless_debugging(error, 1)


def _explain(message: str, hint: str | None) -> None:
    for label, text in (("error", message), ("hint", hint)):
        if text:
            say(f"{label}: {text}")


def _interrupted() -> int:
    _explain(stopping.SENTENCE, stopping.HINT)
    stopping.over()  # here, where it is still being handled: a repeated request cannot come in between
    return stopping.EXIT_CODE


def _unless_debugging(error: Exception, code: int) -> int:
    if os.environ.get("NID_DEBUG") == "1":
        raise error
    return code
