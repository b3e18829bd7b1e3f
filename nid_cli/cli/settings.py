"""The settings of a training as options: what ``recipes.resolve`` knows, by the same names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from nid_cli.cli import options
from nid_cli.data.catalog import CATALOG
from nid_cli.nets import ARCHITECTURES
from nid_cli.pipeline.importing.models import parse_model_args
from nid_cli.specs import ACTIVATIONS, NORMS, OPTIMIZERS, SCHEDULES, SYMMETRIES, parse_by_layer

# How the text of an option is read; all others are what they are.
READ: dict[str, Any] = {
    "data": options.parameters,
    "model_arg": parse_model_args,
    "kappa": lambda text: parse_by_layer(text, "kappa"),
    "num_fixed": lambda text: parse_by_layer(text, "num-fixed"),
    "milestones": lambda text: options.indices(text, "milestones"),
}


def settings_of(**given: Any) -> dict[str, Any]:
    """The settings that were given.

    Raises:
        UsageError: the text of one cannot be read.
    """
    return {
        name: READ[name](value) if name in READ else value for name, value in given.items() if value not in (None, [])
    }


def _one_of(choices: Iterable[str], said: str) -> Any:
    """An option that takes one of ``choices``."""
    names = list(choices)
    option = typer.Option(metavar="|".join(names), help=said, autocompletion=options.among(names))
    return Annotated[str | None, option]


DECLARED: dict[str, Any] = {
    "arch": Annotated[
        str | None,
        typer.Option(
            metavar="|".join([*ARCHITECTURES, "MODEL"]),
            help="Architecture [mlp]; FILE.py:FUNCTION or package.module:FUNCTION returns a torch module.",
            autocompletion=options.among(ARCHITECTURES),
        ),
    ],
    "dataset": Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Data set [digits], or a .safetensors or .npz file of tensors.",
            autocompletion=options.among(CATALOG),
        ),
    ],
    "data": options.DataParameters,
    "model_arg": options.ModelArgs,
    "arch_name": Annotated[str | None, typer.Option(metavar="NAME", help="What records call a MODEL [its FUNCTION].")],
    "symmetry": _one_of(SYMMETRIES, "Symmetry type, or 0..3."),
    "kappa": Annotated[
        str | None,
        typer.Option(
            metavar="K[,K..]|PATTERN=K..", help="One kappa, one for each layer, or by the layers' names [1; resnet 2]."
        ),
    ],
    "seeds": Annotated[int | None, typer.Option(metavar="N", help="How many models [2].")],
    "seed": Annotated[int | None, typer.Option(metavar="BASE", help="What all seeds are drawn from [0].")],
    "epochs": Annotated[int | None, typer.Option(metavar="N", help="Epochs; 0 is initialization only.")],
    "width": Annotated[int | None, typer.Option(metavar="N", help="Hidden units; of a resnet w, for 16w channels.")],
    "depth": Annotated[int | None, typer.Option(metavar="N", help="Linear layers; of a resnet 6n + 2.")],
    "norm": _one_of(NORMS, "Normalization."),
    "activation": _one_of(ACTIVATIONS, "Activation."),
    "heads": Annotated[int | None, typer.Option(metavar="N", help="Heads of each attention (vit, gpt).")],
    "patch": Annotated[int | None, typer.Option(metavar="N", help="Side of a patch in pixels (vit).")],
    "tied": Annotated[
        bool | None, typer.Option("--tied/--untied", help="Whether the output is the embedding transposed (gpt).")
    ],
    "num_fixed": Annotated[
        str | None,
        typer.Option(
            metavar="N[,N..]|PATTERN=N..",
            help="Fixed weights of each neuron: counts, or shares below 1; one, one for each layer, or by name.",
        ),
    ],
    "lr": Annotated[float | None, typer.Option(metavar="X", help="Learning rate.")],
    "weight_decay": Annotated[float | None, typer.Option(metavar="X", help="Weight decay.")],
    "momentum": Annotated[float | None, typer.Option(metavar="X", help="Momentum (sgd).")],
    "optimizer": _one_of(OPTIMIZERS, "Optimizer."),
    "milestones": Annotated[
        str | None, typer.Option(metavar="E[,E..]", help="Epochs after which the learning rate is multiplied by gamma.")
    ],
    "gamma": Annotated[float | None, typer.Option(metavar="X", help="Factor at each milestone.")],
    "schedule": _one_of(SCHEDULES, "How the learning rate goes: by milestones, or to zero by a cosine."),
    "warmup": Annotated[
        float | None, typer.Option(metavar="E", help="Epochs in which the learning rate rises, from step to step.")
    ],
    "spawn_epoch": Annotated[
        int | None,
        typer.Option(metavar="K", help="Copies of one network, which part after its epoch K; 0 shares the beginning."),
    ],
    "clip": Annotated[float | None, typer.Option(metavar="X", help="Longest gradient (norm of all).")],
    "batch_size": Annotated[int | None, typer.Option(metavar="N", help="Batch size.")],
    "save_every": Annotated[int | None, typer.Option(metavar="N", help="Epochs between checkpoints [5].")],
}
# Every setting is an option that may be left out.
SETTINGS = {name: (annotation, None) for name, annotation in DECLARED.items()}
