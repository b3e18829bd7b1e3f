"""Errors that a user can act on: one sentence, one hint, one documented exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NidError(Exception):
    """The work failed (exit code 1)."""

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(NidError):
    """The request makes no sense as given (exit code 2)."""

    exit_code = 2


class NotFoundError(NidError):
    """What was asked for does not exist (exit code 3)."""

    exit_code = 3


class RegistryError(NidError):
    """The registry is locked or of another version (exit code 4)."""

    exit_code = 4


class IntegrityError(NidError):
    """A file is not what the registry says (exit code 5)."""

    exit_code = 5


class Interrupted(NidError):
    """The user stopped the work; what was recorded stays (exit code 130)."""

    exit_code = 130


def unknown(what: str, value: object, choices: Iterable[str]) -> UsageError:
    """The usage error for a name outside ``choices``, with the nearest valid name as its hint."""
    choices = list(choices)
    near = difflib.get_close_matches(str(value).lower(), choices, n=1)
    hint = f"did you mean {near[0]}?" if near else None
    return UsageError(f"unknown {what} {str(value)!r}; choose from {', '.join(choices)}", hint)
