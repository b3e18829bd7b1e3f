"""The options that select groups, models and epochs, which every command on a selection takes."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nid_cli.cli import options
from nid_cli.data.catalog import CATALOG
from nid_cli.nets import ARCHITECTURES
from nid_cli.pipeline.choices import selection as selection
from nid_cli.specs import SYMMETRIES

Archs = Annotated[
    list[str] | None,
    typer.Option(
        "--arch", metavar="ARCH", help="Only these architectures.", autocompletion=options.among(ARCHITECTURES)
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option("--dataset", metavar="NAME", help="Only these data sets.", autocompletion=options.among(CATALOG)),
]
Symmetries = Annotated[
    list[str] | None,
    typer.Option("--symmetry", metavar="TYPE", help="Only these types.", autocompletion=options.among(SYMMETRIES)),
]
Kappas = Annotated[
    list[str] | None,
    typer.Option("--kappa", metavar="K[,K..]", help="Only this kappa (1,1,0.5: one for each layer)."),
]
Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--group", metavar="NAME", help="Only this group; repeatable.", autocompletion=options.complete_groups
    ),
]
Sweeps = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep",
        metavar="NAME",
        help="Only the groups of this sweep; repeatable.",
        autocompletion=options.complete_sweeps,
    ),
]
Models = Annotated[
    str | None, typer.Option("--models", metavar="1,2,5-8", help="Only these models [all complete ones].")
]
Epochs = Annotated[
    str,
    typer.Option(
        "--epochs",
        metavar="last|all|0,5|0:100:5",
        help="Which checkpoints.",
        autocompletion=options.among(("last", "all")),
    ),
]

# Each selector with its default.
SELECTORS: dict[str, tuple[Any, Any]] = {
    "arch": (Archs, None),
    "dataset": (Datasets, None),
    "symmetry": (Symmetries, None),
    "kappa": (Kappas, None),
    "group": (Groups, None),
    "sweep": (Sweeps, None),
    "models": (Models, None),
    "epochs": (Epochs, "last"),
}


# Makes a command take all selectors where its parameter ``chosen`` stands: their :class:`Selection`.
selecting = options.bundle("chosen", SELECTORS, selection)
