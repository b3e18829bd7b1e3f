"""``nid register``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nid_cli.cli import options, output, render
from nid_cli.data.catalog import CATALOG
from nid_cli.errors import UsageError
from nid_cli.pipeline.context import Context
from nid_cli.records.housekeeping import Registered

EXAMPLES = options.examples(
    "nid register runs/mlp-w-kappa1 --name baseline",
    "nid register runs --recursive",
    "nid register colleague/.nid",
    "nid register group.tar",
    "nid register a.pt b.pt --model nets.py:build --dataset mnist",
    "nid register a.pt b.pt --init a0.pt --init b0.pt --epoch 90 --model torchvision.models:resnet18 "
    "--model-arg num_classes=10 --dataset cifar10",
    "nid register c.pt --group build-mnist-standard",
)


def register(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH...",
            help="Run directories of the reference code, .nid folders, .tar files; with --model or --group: state "
            "dictionaries (.pt, .pth, .safetensors), one for each model.",
        ),
    ],
    model: options.Model = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Data set of the models, or a .safetensors or .npz file of tensors.",
            autocompletion=options.among(CATALOG),
        ),
    ] = None,
    data: options.DataParameters = None,
    model_arg: options.ModelArgs = None,
    given: options.Input = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Of the state dictionary in files that hold more.")
    ] = None,
    epoch: Annotated[int | None, typer.Option(metavar="N", help="Epoch of the files [1].")] = None,
    init: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Initialization (epoch 0) of each file's model; repeatable, same order."),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Files of the network of this group, which they join unless nid trained it: no code is imported.",
            autocompletion=options.complete_groups,
        ),
    ] = None,
    arch_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Architecture in records [the function's name].")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the new group (one source only).")] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="All run directories and registries below PATH.")
    ] = False,
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Import models: state dictionaries of your own network, the reference code's runs, groups of other registries."""
    from nid_cli.pipeline.importing.checkpoints import ENDINGS
    from nid_cli.pipeline.importing.models import is_model

    if model is not None and not is_model(model) and group is None:
        model, group = None, model
    code = {"dataset": dataset, "data": data, "model-arg": model_arg, "input": given, "arch-name": arch_name}
    own = {"key": key, "epoch": epoch, "init": init}
    if model is not None:
        _refuse({"group": group, "recursive": recursive or None}, "--model")
        if dataset is None:
            raise UsageError("--model needs --dataset, which the models are measured on", "--dataset mnist, or a file")
    elif group is not None:
        _refuse({**code, "recursive": recursive or None}, "--group, whose network and data are known")
    elif said := [option for option, value in {**code, **own}.items() if value is not None]:
        raise UsageError(f"--{said[0]} goes with --model", "--model FILE.py:FUNCTION says what the files are of")
    elif states := [path for path in paths if path.suffix in ENDINGS and path.is_file()]:
        raise UsageError(
            f"{states[0]} holds tensors, and nothing says of which network",
            "--model FILE.py:FUNCTION --dataset NAME, or --group NAME of a group with that network",
        )

    with render.progress() as progress:
        context = Context(registry=registry, argv=options.command_line(), progress=progress, say=render.say)
        if model is None and group is None:
            from nid_cli.pipeline.importing.register import register as run

            outcomes = run(context, paths, name=name, recursive=recursive)
        else:
            outcomes = _files(context, paths, model, group, code, {**own, "name": name})

    def human() -> None:
        columns = ("source", "status", "group", "models", "epochs", "new checkpoints")
        done = [o for o in outcomes if o.status != "skipped"]
        rows = [(o.source, o.status, o.group, o.models, o.epochs, o.new_checkpoints) for o in done]
        render.table(columns, rows)

    output.show(Registered, [o.values() for o in outcomes], as_json=as_json, export=None, human=human)
    skipped = [o for o in outcomes if o.status == "skipped"]
    for outcome in skipped:
        render.say(f"skipped: {outcome.reason}")
    if skipped:
        raise typer.Exit(1)


def _refuse(others: dict[str, Any], word: str) -> None:
    if said := [option for option, value in others.items() if value is not None]:
        raise UsageError(f"--{said[0]} does not go with {word}", "leave it out")


def _files(
    context: Context, paths: list[Path], model: str | None, group: str | None, code: dict[str, Any], own: dict[str, Any]
) -> list[Registered]:
    """State dictionaries: of the user's code, or of the network of a group."""
    from nid_cli.pipeline.importing.members import Network, register_files
    from nid_cli.pipeline.importing.models import parse_model_args

    network = None
    if model is not None:
        network = Network(
            model=model,
            dataset=code["dataset"],
            model_args=parse_model_args(code["model-arg"] or ()),
            data=options.parameters(code["data"] or ()),
            input=code["input"],
            arch=code["arch-name"],
        )
    chosen = {name: value for name, value in own.items() if value is not None}
    return register_files(context, paths, network=network, group=group, **chosen)
