"""``nid plot``: figures from what the registry has; computes nothing, and names the command that would."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli.errors import NotFoundError, UsageError
from nid_cli.pipeline import lmc
from nid_cli.pipeline.context import Context
from nid_cli.registry import artifacts, invocations, results
from nid_cli.registry.database import open_for_writing
from nid_cli.registry.selection import Selection

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")


def check_target(target: Path) -> None:
    """Refuses a file that could not be drawn.

    Raises:
        UsageError: an unknown ending, or a folder that is not there.
    """
    if target.suffix not in FORMATS:
        raise UsageError(f"--out {str(target)!r} must end in one of {', '.join(FORMATS)}")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"the folder of --out {str(target)!r} does not exist", "make it first")


def plot_lmc(
    context: Context,
    selection: Selection,
    target: Path,
    *,
    pairs: str = "all",
    align: Sequence[str] = lmc.DEFAULT_ALIGNMENTS,
    points: int = 9,
    split: str = "train",
) -> dict[str, Any]:
    """Draws LMC curves of the selected groups from recorded results; returns the figure's record.

    Raises:
        NotFoundError: results are missing; the hint is the command that makes them.
        UsageError: the file's ending, or a selector, cannot be.
    """
    check_target(target)
    wanted = lmc.subjects(context, selection, pairs=pairs, align=align, points=points)
    registry = open_for_writing(context.registry)
    with registry.read() as connection:
        records = results.records(connection, [subject.key for subject in wanted])
    if len(records) < len(wanted):
        raise NotFoundError(
            f"{len(wanted) - len(records)} of {len(wanted)} results are not in the registry",
            f"run: {_command(context)}",
        )
    if not any(record["status"] == "ok" for record in records):
        raise NotFoundError("none of the results can be drawn: the alignment is not applicable to these groups")
    from nid_cli.plots.lmc import draw

    return _save(context, "lmc", draw(records, split), target, records)


def _command(context: Context) -> str:
    """The ``nid lmc`` call with the selectors of this ``nid plot lmc`` call."""
    words = list(context.argv[3:])
    kept = []
    while words:
        word = words.pop(0)
        if word in ("--out", "--split"):
            words[:1] = []
        elif not word.startswith(("--out=", "--split=", "--json")):
            kept.append(word)
    return " ".join(["nid", "lmc", *kept])


def _save(
    context: Context, name: str, figure: Figure, target: Path, records: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Writes the file, whole or not at all, and records what it shows."""
    from nid_cli.plots.style import styled

    buffer = io.BytesIO()
    kind = target.suffix[1:]
    # Without dates in the metadata the same results give the same bytes.
    metadata = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[kind]
    with styled():
        figure.savefig(buffer, format=kind, metadata=metadata)
    sha256 = artifacts.write_atomic(target.absolute(), buffer.getvalue())
    ids = [record["result_id"] for record in records]
    registry = open_for_writing(context.registry)
    origin = invocations.describe(f"plot {name}", context.argv)
    with registry.write() as connection:
        invocation = invocations.begin(connection, origin)
        results.record_figure(connection, name, str(target.absolute()), sha256, ids, invocation)
        invocations.finish(connection, invocation, "done")
    return {"figure": name, "path": str(target), "sha256": sha256, "result_ids": ids}
