"""Names that an option may have: one of them, or several."""

from __future__ import annotations

from collections.abc import Collection

from nid_cli.errors import unknown


def one_of(what: str, value: str, choices: Collection[str]) -> str:
    """``value``, which is one of ``choices``.

    Raises:
        UsageError: it is not.
    """
    if value not in choices:
        raise unknown(what, value, choices)
    return value


def some_of(what: str, text: str, choices: Collection[str]) -> list[str]:
    """A comma list of names out of ``choices``, without repetitions.

    Raises:
        UsageError: a name that is none of them.
    """
    return list(dict.fromkeys(one_of(what, part.strip(), choices) for part in text.split(",")))
