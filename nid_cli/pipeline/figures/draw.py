"""``nid plot``: a figure drawn from recorded results, its file, and the record of what it shows."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli import files
from nid_cli.errors import UsageError
from nid_cli.lazy import resolve
from nid_cli.pipeline.choices import one_of
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.figures.recorded import Records
from nid_cli.pipeline.figures.table import FIGURES, Options
from nid_cli.records.figures import FigureFile
from nid_cli.registry import invocations, results
from nid_cli.registry.opening import open_for_reading, open_for_writing
from nid_cli.specs import Selection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")
DPI, SMALL_DPI = 300, 130
COLUMNS = (1, 2)


def check_target(target: Path, formats: Sequence[str] = FORMATS) -> None:
    """Refuses a file that could not be drawn.

    Raises:
        UsageError: an unknown ending, or a folder that is not there.
    """
    if target.suffix not in formats:
        raise UsageError(f"--out {str(target)!r} must end in {' or '.join(formats)}")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"the folder of --out {str(target)!r} does not exist", "make it first")


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a figure shows: its name, the records, and how they are drawn."""

    name: str
    records: Records
    own: Options

    @property
    def result_ids(self) -> list[str]:
        """The results behind it."""
        own = [record["result_id"] for record in self.records if "result_id" in record]
        return own + [each for record in self.records for each in record.get("result_ids", ())]

    def rows(self) -> list[dict[str, Any]]:
        """The rows that the figure shows."""
        rows: list[dict[str, Any]] = self._module.table(self.records, **self.own)
        return rows

    def figure(self, columns: int | None = None) -> Figure:
        """The artists; ``columns``: as :func:`draw` takes them."""
        figure: Figure = self._module.draw(self.records, columns=columns, **self.own)
        return figure

    @property
    def _module(self) -> Any:
        return importlib.import_module(f"nid_cli.plots.{self.name}")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure in memory: the artists, the rows that they show, and the records behind them."""

    figure: Figure
    rows: list[dict[str, Any]]
    records: Records
    result_ids: list[str]


def gather(
    context: Context,
    name: str,
    selection: Selection | None = None,
    options: Options | None = None,
    *,
    compute: bool = False,
) -> Gathered:
    """The records of one of ``FIGURES``; see :func:`draw`."""
    entry = FIGURES[one_of("figure", name, list(FIGURES))]
    records, own = resolve(entry.gather)(
        context, selection or Selection(), {**entry.options, **(options or {})}, compute
    )
    return Gathered(name=name, records=records, own=own)


def draw(
    context: Context,
    name: str,
    selection: Selection | None = None,
    options: Options | None = None,
    *,
    columns: int | None = None,
    compute: bool = False,
) -> Drawn:
    """One of ``FIGURES`` from recorded results.

    Args:
        options: of the figure's own; those not given take their defaults.
        columns: the width of one or of two columns of a page; None takes what suits the figure.
        compute: make missing results instead of naming their command.

    Raises:
        NotFoundError: results are missing; the hint is the command that makes them. UsageError: an option cannot be.
    """
    one_of("figure", name, list(FIGURES))
    if columns is not None and columns not in COLUMNS:
        raise UsageError(f"a figure is 1 or 2 columns wide, not {columns}")
    found = gather(context, name, selection, options, compute=compute)
    return Drawn(figure=found.figure(columns), rows=found.rows(), records=found.records, result_ids=found.result_ids)


def render(figure: Figure, suffix: str, *, small: bool = False) -> bytes:
    """A figure as a file's content: ``.pdf`` with its fonts embedded, ``.svg``, or ``.png`` at 300 dpi.

    Without dates in the metadata: the same results give the same bytes.

    Args:
        small: a ``.png`` for a web page, with fewer dots and 256 colours.
    """
    from nid_cli.plots.style import styled

    buffer = io.BytesIO()
    metadata: dict[str, Any] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {}}[suffix]
    with styled():
        figure.savefig(buffer, format=suffix[1:], metadata=metadata, dpi=SMALL_DPI if small else DPI)
    return _few_colours(buffer) if small and suffix == ".png" else buffer.getvalue()


def _few_colours(picture: io.BytesIO) -> bytes:
    from PIL import Image

    content = io.BytesIO()
    plain = Image.open(picture).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    plain.save(content, format="PNG", optimize=True, dpi=(SMALL_DPI, SMALL_DPI))
    return content.getvalue()


def plot(
    context: Context,
    name: str,
    selection: Selection,
    target: Path,
    options: Options | None = None,
    *,
    columns: int | None = None,
    small: bool = False,
    compute: bool = False,
) -> tuple[FigureFile, list[dict[str, Any]]]:
    """Draws a figure into a file, whole or not at all, and records it; returns its record and the rows behind it.

    Raises: see :func:`draw`; UsageError: the file's ending, or its folder, cannot be.
    """
    check_target(target, (".png",) if small else FORMATS)
    drawn = draw(context, name, selection, options, columns=columns, compute=compute)
    content = render(drawn.figure, target.suffix, small=small)
    return keep(context, name, target, content, drawn.result_ids), drawn.rows


def is_drawn(context: Context, name: str, target: Path) -> bool:
    """Whether the sweep at hand has drawn this figure already, and nothing was recorded since that it might show."""
    assert context.sweep is not None
    with open_for_reading(context.registry).read() as connection:
        sha256 = results.figure_of_sweep(connection, name, str(target.absolute()), context.sweep)
    return sha256 is not None and target.is_file() and files.file_sha256(target) == sha256


def keep(context: Context, name: str, target: Path, content: bytes, result_ids: Sequence[str]) -> FigureFile:
    """Writes a drawn figure, whole or not at all, and records which results it shows; returns its record.

    A registry that may only be read is drawn from, too; it is said that it does not keep the record.
    """
    sha256 = files.write_atomic(target.absolute(), content)
    registry = open_for_writing(context.registry)
    origin = invocations.describe(f"plot {name}", context.argv, sweep_id=context.sweep)
    if registry.can_write:
        with registry.write() as connection:
            invocation = invocations.begin(connection, origin)
            results.record_figure(connection, name, str(target.absolute()), sha256, result_ids, invocation)
            invocations.finish(connection, invocation, "done")
    else:
        context.say(f"{registry.path} may only be read: that this figure was drawn is not recorded there")
    return FigureFile(figure=name, path=str(target), sha256=sha256, result_ids=list(result_ids))
