"""``nid table``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from nid_cli.cli import options, output, render, summary
from nid_cli.cli.selectors import selecting
from nid_cli.cli.variants import varying
from nid_cli.errors import UsageError
from nid_cli.pipeline.choices import one_of
from nid_cli.pipeline.context import Context
from nid_cli.records import Row
from nid_cli.records.formats import document
from nid_cli.records.table import PLACES, USUAL, Joined
from nid_cli.specs import Selection

EXAMPLES = options.examples(
    "nid table --arch mlp --export table.csv",
    "nid table --list-columns",
    "nid table --epochs all --columns test_error_barrier,swap_index --json",
    "nid table --correlate swap_index,share_identity --given kappa --by symmetry",
)
NAMES = [column.name for column in Joined.columns()]
# What stands at the beginning of a line for people.
HEAD = ("group", "epoch", "models")


@selecting
@varying
def table(
    chosen: Selection,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[,NAME..]",
            help="Which columns, in this order [all; for people the usual ones].",
            autocompletion=options.several(NAMES),
        ),
    ] = None,
    list_columns: Annotated[bool, typer.Option("--list-columns", help="Say what columns there are.")] = False,
    correlate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y",
            help="Spearman's and Kendall's correlation of two columns, with bootstrap intervals; repeatable.",
            autocompletion=options.several(NAMES),
        ),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Partial correlations, given this column.", autocompletion=options.among(NAMES)
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Correlations among the groups of each value of it, too.",
            autocompletion=options.among(("symmetry", "arch", "dataset")),
        ),
    ] = None,
    *,
    variant: dict[str, Any],
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
    export: options.Export = None,
) -> None:
    """Join what was measured: one row a group and epoch; and ask which column goes with which."""
    from nid_cli.pipeline import table as pipeline

    if list_columns:
        _list_columns(as_json)
        return
    output.check(export)
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    pairs = [_pair(text) for text in correlate or ()]
    pipeline.check_columns([*(names or ()), *(name for pair in pairs for name in pair), *([given] if given else ())])
    if by is not None:
        one_of("column", by, [column.name for column in Joined.about])
    if (given or by) and not pairs:
        raise UsageError(f"--{'given' if given else 'by'} is of correlations", "add --correlate X,Y")
    joined = list(dict.fromkeys(name for pair in pairs for name in pair)) if pairs and names is None else names
    joined = [*(joined or (PLACES if as_json or export else USUAL)), *([given] if given else ())]
    context = Context(registry=registry)
    found = pipeline.join(context, chosen, joined, variant)
    missing = {analysis: lack.command(context) for analysis, lack in found.lacking.items()}
    correlations = [c.values() for x, y in pairs for c in pipeline.correlate(found.rows, x, y, given, by)]
    rows = found.rows if names is None else [{name: row[name] for name in names} for row in found.rows]

    def human() -> None:
        if pairs:
            _correlations(correlations, given)
        else:
            shown = names or [*HEAD, *USUAL]
            render.table(summary.headings(Joined, *shown), [[row[name] for name in shown] for row in rows])

    beside: dict[str, Any] = {"missing": missing} | ({"correlations": correlations} if pairs else {})
    output.show(Joined, rows, as_json=as_json, export=export, human=human, columns=names, summary=beside)
    for r in correlations:
        if r["missing"]:
            render.say(
                f"{r['x']} and {r['y']}, {r['among']}: without {', '.join(r['missing'])}, which lack one of them"
            )
    if names or pairs or not (as_json or export):
        for analysis, command in missing.items():
            render.say(f"not all of {analysis} is recorded: {command}")


def _pair(text: str) -> tuple[str, str]:
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise UsageError(f"--correlate takes two columns like swap_index,share_identity, not {text!r}")
    return names[0], names[1]


def _list_columns(as_json: bool) -> None:
    rows = [(column.name, column.unit, column.meaning) for column in Joined.columns()]
    records = [dict(zip(("column", "unit", "meaning"), row, strict=True)) for row in rows]
    if as_json:
        render.emit(document("nid.columns/1", records))
    else:
        render.table(("column", "unit", "meaning"), rows)


def _correlations(records: Sequence[Row], given: str | None) -> None:
    shown = ["spearman", "kendall", *(["partial"] if given else [])]
    heads = ["x", "y", "among", "groups"] + [name for own in shown for name in (own, "95 %")]
    rows = []
    for r in records:
        intervals = [(r[name], _interval(r[f"{name}_interval"])) for name in shown]
        rows.append((r["x"], r["y"], r["among"], r["groups"], *(part for own in intervals for part in own)))
    render.table(heads, rows)


def _interval(values: list[float] | None) -> str | None:
    return None if values is None else f"{values[0]:.2f} to {values[1]:.2f}"
