"""What the texts of options say: one name of several, numbers, layers, a selection."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from nid_cli.data.catalog import is_data_file
from nid_cli.errors import UsageError, unknown
from nid_cli.specs import Kappa, Selection, symmetry_name


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


def parse_numbers(text: str, what: str) -> list[float]:
    """``1,1,0.5`` as numbers.

    Raises:
        UsageError: it cannot be read so.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{what} must be a number, or several like 1,1,0.5, not {text!r}") from None


def layers(text: str | None) -> tuple[str, ...] | None:
    """``0,2`` or ``stem.conv,linear`` as names of layers; None stays None."""
    return None if text is None else tuple(part.strip() for part in text.split(","))


def selection(
    arch: list[str] | None = None,
    dataset: list[str] | None = None,
    symmetry: list[str] | None = None,
    kappa: list[str] | None = None,
    group: list[str] | None = None,
    sweep: list[str] | None = None,
    models: str | None = None,
    epochs: str = "last",
) -> Selection:
    """Selectors, as their texts are given, as one value.

    Raises:
        UsageError: an unknown type or an unreadable number.
    """
    return Selection(
        arch=tuple(arch or ()),
        dataset=tuple(Path(name).stem if is_data_file(name) else name for name in dataset or ()),
        symmetry=tuple(symmetry_name(s) for s in symmetry or ()),
        kappa=tuple(Kappa.parse(k) for k in kappa or ()),
        group=tuple(group or ()),
        sweep=tuple(sweep or ()),
        models=models,
        epochs=epochs,
    )
