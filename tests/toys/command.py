"""``nid toy``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from nid_cli.cli import options, render
from nid_cli.cli.measuring import Measuring, measuring
from nid_cli.cli.selectors import selecting
from nid_cli.records import Row
from nid_cli.specs import Selection
from tests.toys import ToyParameters

EXAMPLES = options.examples("nid toy --power 1")


@selecting
@measuring
def toy(
    chosen: Selection,
    power: Annotated[int, typer.Option(metavar="N", help="The power.")] = ToyParameters().power,
    *,
    how: Measuring,
) -> None:
    """Measure the size of layers."""
    how.run("toy", ToyParameters(power=power), _table, selection=chosen)


def _table(records: Sequence[Row]) -> None:
    render.table(
        ("group", "model", "layer", "size"), [(r["group"], r["model"], r["layer"], r["size"]) for r in records]
    )
