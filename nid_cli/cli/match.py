"""``nid match``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from nid_cli.analysis.catalog import SIMILARITIES
from nid_cli.analysis.parameters import MatchParameters
from nid_cli.cli import options, render, summary
from nid_cli.cli.measuring import Measuring, measuring
from nid_cli.cli.selectors import selecting
from nid_cli.nets.graph import SITES
from nid_cli.pipeline.choices import some_of
from nid_cli.records import Match, Row
from nid_cli.specs import Selection

USUAL = MatchParameters()
EXAMPLES = options.examples(
    "nid match --symmetry w",
    "nid match --dataset mnist --at post_linear,post_activation --similarity pearson,dot",
    "nid match --group mlp-digits-w-k1 --epochs all --export match.parquet",
)


@selecting
@measuring
def match(
    chosen: Selection,
    pairs: options.Pairs = "all",
    at: Annotated[
        str,
        typer.Option(
            metavar=",".join(SITES), help="Where neurons are recorded.", autocompletion=options.several(SITES)
        ),
    ] = ",".join(USUAL.at),
    similarity: Annotated[
        str,
        typer.Option(
            metavar=",".join(SIMILARITIES),
            help="How neurons are compared.",
            autocompletion=options.several(SIMILARITIES),
        ),
    ] = ",".join(USUAL.similarity),
    random: Annotated[int, typer.Option(metavar="N", help="Random permutations for the baseline.")] = USUAL.random,
    layers: Annotated[
        str | None, typer.Option("--layers", metavar="NAME[,NAME..]", help="Hidden layers, as records call them [all].")
    ] = None,
    *,
    how: Measuring,
) -> None:
    """Measure how well the neurons of two models match: optimal, identity and random objectives, layer by layer."""
    parameters = MatchParameters(
        at=tuple(some_of("recording point", at, SITES)),
        similarity=tuple(some_of("similarity", similarity, SIMILARITIES)),
        random=random,
        layers=options.layers(layers),
    )
    how.run("match", parameters, _table, selection=chosen, pairs=pairs)


def _table(records: Sequence[Row]) -> None:
    """One line for each group, epoch, layer, site and similarity: means over pairs."""
    keys, shown = (
        ("group", "epoch", "layer", "at", "similarity"),
        ("optimal", "identity", "random_mean", "share_identity"),
    )
    rows = [
        (*cell, len(own), *(summary.mean(own, name) for name in shown))
        for cell, own in summary.cells(records, *keys).items()
    ]
    render.table((*keys, "pairs", *summary.headings(Match, *shown)), rows)
