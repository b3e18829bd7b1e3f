"""The options that say which of several results of an analysis are meant: those of these parameters."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nid_cli.analysis.catalog import SIMILARITIES, SINCE
from nid_cli.analysis.parameters import (
    CoherenceParameters,
    KernelParameters,
    LmcParameters,
    MatchParameters,
    SimilarityParameters,
)
from nid_cli.cli import options
from nid_cli.nets.graph import SITES
from nid_cli.pipeline.choices import one_of

LMC, MATCH = LmcParameters(), MatchParameters()

VARIANTS: dict[str, tuple[Any, Any]] = {
    "points": (
        Annotated[int, typer.Option(metavar="N", help="Of lmc: points on each segment, as they were measured.")],
        LMC.points,
    ),
    "bn_reset": (options.BnReset, False),
    "repair": (options.Repair, None),
    "anatomy": (options.Anatomy, False),
    "at": (
        Annotated[
            str,
            typer.Option(
                metavar="|".join(SITES),
                help="Of match and similarity: where neurons are recorded.",
                autocompletion=options.among(SITES),
            ),
        ],
        MATCH.at[0],
    ),
    "similarity": (
        Annotated[
            str,
            typer.Option(
                metavar="|".join(SIMILARITIES),
                help="Of match: how neurons are compared.",
                autocompletion=options.among(SIMILARITIES),
            ),
        ],
        MATCH.similarity[0],
    ),
    "since": (
        Annotated[
            str,
            typer.Option(
                metavar="|".join(SINCE),
                help="Of similarity: what updates count from.",
                autocompletion=options.among(SINCE),
            ),
        ],
        SimilarityParameters().since,
    ),
    "samples": (
        Annotated[int, typer.Option(metavar="N", help="Of ntk, as they were measured.")],
        KernelParameters().samples,
    ),
    "learn_steps": (options.LearnSteps, LMC.learn_steps),
    "explained_variance": (options.ExplainedVariance, CoherenceParameters().explained_variance),
}


def _variant(*, at: str, similarity: str, since: str, **others: Any) -> dict[str, Any]:
    """Parameters by their names.

    Raises:
        UsageError: a name that is none of the known ones.
    """
    return others | {
        "at": (one_of("recording point", at, SITES),),
        "similarity": (one_of("similarity", similarity, SIMILARITIES),),
        "since": one_of("start of updates", since, SINCE),
    }


# Makes a command take all of them where its parameter ``variant`` stands.
varying = options.bundle("variant", VARIANTS, _variant)
