"""The table of figures: what each shows, the results that it needs, its options. No torch, no database.

A new figure is one entry here, one function that gathers its records, and ``nid_cli/plots/<name>.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from nid_cli.analysis.parameters import (
    CoherenceParameters,
    CostParameters,
    LmcParameters,
    MatchParameters,
    MergeParameters,
    NtkParameters,
    SimilarityParameters,
)
from nid_cli.analysis.synthetic_settings import SyntheticSettings
from nid_cli.specs import Selection

SELECTORS = tuple(field.name for field in fields(Selection))

Options = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class FigureEntry:
    """A figure: what it shows, the commands whose results it needs, its own options with their defaults.

    ``gather``: ``module:function`` of (context, selection, options, compute), which gives its records and the keyword
    arguments of ``draw`` and ``table`` in ``nid_cli/plots/<name>.py``. ``selectors``: those that it takes.
    ``matrices``: it reads those of all models, so that many groups take a long time.
    """

    description: str
    needs: tuple[str, ...]
    gather: str
    options: Options
    selectors: tuple[str, ...] = SELECTORS
    matrices: bool = False


_LMC, _MATCH, _COST, _NTK = LmcParameters(), MatchParameters(), CostParameters(), NtkParameters()
_SIMILARITY = SimilarityParameters()
# ``align`` None: what the pairs usually take.
_PAIRS = {
    "pairs": "all",
    "align": None,
    "points": _LMC.points,
    "bn_reset": _LMC.bn_reset,
    "learn_steps": _LMC.learn_steps,
    "repair": _LMC.repair,
}
_SIZE = ("copies", "width", "density", "outer_seeds", "num_pairs", "epochs", "points")
_SYNTHETIC: Options = {name: getattr(SyntheticSettings(), name) for name in _SIZE}

FIGURES: dict[str, FigureEntry] = {
    "lmc": FigureEntry(
        description="accuracy and loss over lambda, unaligned and aligned side by side, mean and band over pairs",
        needs=("nid lmc",),
        gather="nid_cli.pipeline.figures.gather:lmc",
        options=_PAIRS | {"split": "train", "overlay": None},
    ),
    "anatomy": FigureEntry(
        description="where along depth merging breaks (features, variance); ensemble gain and merging cost over lambda",
        needs=("nid lmc --anatomy",),
        gather="nid_cli.pipeline.figures.gather:anatomy",
        options=_PAIRS | {"split": "test", "repair": "none"},
    ),
    "barrier": FigureEntry(
        description="error and loss barrier against kappa, share of fixed weights, epoch or a data parameter",
        needs=("nid lmc",),
        gather="nid_cli.pipeline.figures.gather:barrier",
        options=_PAIRS | {"split": "train", "against": "kappa", "kind": "chord"},
    ),
    "match": FigureEntry(
        description="matching objective (optimal, identity, random) against kappa, share of fixed weights or epoch, "
        "layer by layer and pooled",
        needs=("nid match",),
        gather="nid_cli.pipeline.figures.gather:match",
        options={
            "pairs": "all", "at": _MATCH.at[0], "similarity": _MATCH.similarity[0], "against": "kappa", "overlay": None,
        },
    ),
    "similarity": FigureEntry(
        description="CKA by layer, agreement of predictions, and cosine of updates, unaligned and aligned",
        needs=("nid similarity",),
        gather="nid_cli.pipeline.figures.gather:similarity",
        options={
            "pairs": "all", "align": None, "at": _SIMILARITY.at[0], "since": _SIMILARITY.since, "split": "test",
            "learn_steps": _SIMILARITY.learn_steps,
        },
    ),
    "merge": FigureEntry(
        description="many models in one: accuracy and loss by alignment, beside the parts and their ensemble, groups "
        "side by side or over the number of models",
        needs=("nid merge",),
        gather="nid_cli.pipeline.figures.gather:merge",
        options={
            "align": MergeParameters().align, "bn_reset": False, "repair": None, "counts": None, "split": "test",
        },
    ),
    "cost": FigureEntry(
        description="swap costs: matrices by layer or data parameter, distributions, or Mahalanobis against ridge",
        needs=("nid cost", "nid cost --method ridge (for --method ridge and --kind scatter)"),
        gather="nid_cli.pipeline.figures.gather:cost",
        matrices=True,
        options={
            "kind": "matrix", "across": "layer", "method": _COST.method, "layers": None, "betas": (0.01,),
            "neurons": _COST.neurons, "explained_variance": _COST.explained_variance,
        },
    ),
    "coherence": FigureEntry(
        description="coherence, dimension and anisotropy with its bound, over layers or epochs",
        needs=("nid coherence",),
        gather="nid_cli.pipeline.figures.gather:coherence",
        options={"against": "layer", "explained_variance": CoherenceParameters().explained_variance},
    ),
    "ntk": FigureEntry(
        description="tangent kernels over epochs: trace and effective rank, alignment with the initialization and "
        "change since, error of the linearized network",
        needs=("nid ntk --epochs all",),
        gather="nid_cli.pipeline.figures.gather:ntk",
        options={"samples": _NTK.samples, "split": _NTK.split},
    ),
    "synthetic": FigureEntry(
        description="synthetic experiment: midpoint barrier against coherence, curves at the two ends, both families",
        needs=("nid coherence synthetic",),
        gather="nid_cli.pipeline.figures.gather:synthetic",
        options=_SYNTHETIC,
        selectors=(),
    ),
    "relate": FigureEntry(
        description="one column of nid table against another, one mark a group and epoch, with the rank correlation",
        needs=("nid lmc, match, cost, coherence: those that the columns are of",),
        gather="nid_cli.pipeline.figures.gather:relate",
        options={
            "x": "swap_index", "y": "share_identity", "points": _LMC.points, "bn_reset": _LMC.bn_reset, "log_x": False,
            "log_y": False,
        },
    ),
    "training": FigureEntry(
        description="loss and accuracy over the epochs of all seeds",
        needs=("nid train",),
        gather="nid_cli.pipeline.figures.gather:training",
        options={"split": "train,test"},
        selectors=tuple(name for name in SELECTORS if name != "epochs"),
    ),
    "summary": FigureEntry(
        description="one page for a group: what it is, training, connectivity, matching, costs, coherence",
        needs=("nid lmc", "nid match", "nid cost", "nid coherence"),
        gather="nid_cli.pipeline.figures.gather:summary",
        options={},
    ),
}  # fmt: skip

# The page of all figures, which has a command of its own.
REPORT = "a self-contained HTML page for a selection of groups: table, figures, numbers, lineage, commands"
REPORT_NEEDS = ("whatever there is; the page names what is missing",)
