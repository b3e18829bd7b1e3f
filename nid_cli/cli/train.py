"""``nid train``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nid_cli.cli import options, output, render
from nid_cli.data.catalog import CATALOG
from nid_cli.errors import NotFoundError, UsageError
from nid_cli.nets import ARCHITECTURES
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.importing.models import parse_model_args
from nid_cli.pipeline.training.requests import Request, going_on, requested
from nid_cli.records.training import SplitMetrics, TrainedModel
from nid_cli.specs import ACTIVATIONS, NORMS, OPTIMIZERS, SCHEDULES, SPLITS, SYMMETRIES, parse_by_layer

if TYPE_CHECKING:
    from nid_cli.pipeline.training.train import Trained
    from nid_cli.registry.runs import Model

EXAMPLES = options.examples(
    "nid train --symmetry w --kappa 1 --seeds 4",
    "nid train --dataset mnist --symmetry syre --kappa 1,1,0.5,0.25",
    "nid train --dataset gaussian-subspace --data k=8 --width 64 --epochs 0",
    "nid train --arch resnet --dataset cifar10 --symmetry w --kappa 2 --seeds 4",
    "nid train --arch nets.py:build --model-arg width=32 --symmetry w --num-fixed '0.25,head=0'",
    "nid train --spawn-epoch 5 --seeds 4",
    "nid train --group mlp-digits-w-k1 --seeds 6",
    "nid train --dry-run > run.toml",
    "nid train --config run.toml",
)


def train(
    arch: Annotated[
        str | None,
        typer.Option(
            metavar="|".join([*ARCHITECTURES, "MODEL"]),
            help="Architecture [mlp]; FILE.py:FUNCTION or package.module:FUNCTION returns a torch module.",
            autocompletion=options.among(ARCHITECTURES),
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Data set [digits], or a .safetensors or .npz file of tensors.",
            autocompletion=options.among(CATALOG),
        ),
    ] = None,
    data: options.DataParameters = None,
    model_arg: options.ModelArgs = None,
    arch_name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What records call a MODEL [its FUNCTION].")
    ] = None,
    symmetry: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(SYMMETRIES),
            help="Symmetry type, or 0..3.",
            autocompletion=options.among(SYMMETRIES),
        ),
    ] = None,
    kappa: Annotated[
        str | None,
        typer.Option(
            metavar="K[,K..]|PATTERN=K..", help="One kappa, one for each layer, or by the layers' names [1; resnet 2]."
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(metavar="N", help="How many models [2].")] = None,
    seed: Annotated[int | None, typer.Option(metavar="BASE", help="What all seeds are drawn from [0].")] = None,
    epochs: Annotated[int | None, typer.Option(metavar="N", help="Epochs; 0 is initialization only.")] = None,
    width: Annotated[
        int | None, typer.Option(metavar="N", help="Hidden units; of a resnet w, for 16w channels.")
    ] = None,
    depth: Annotated[int | None, typer.Option(metavar="N", help="Linear layers; of a resnet 6n + 2.")] = None,
    norm: Annotated[
        str | None, typer.Option(metavar="|".join(NORMS), help="Normalization.", autocompletion=options.among(NORMS))
    ] = None,
    activation: Annotated[
        str | None,
        typer.Option(metavar="|".join(ACTIVATIONS), help="Activation.", autocompletion=options.among(ACTIVATIONS)),
    ] = None,
    heads: Annotated[int | None, typer.Option(metavar="N", help="Heads of each attention (vit, gpt).")] = None,
    patch: Annotated[int | None, typer.Option(metavar="N", help="Side of a patch in pixels (vit).")] = None,
    tied: Annotated[
        bool | None, typer.Option("--tied/--untied", help="Whether the output is the embedding transposed (gpt).")
    ] = None,
    num_fixed: Annotated[
        str | None,
        typer.Option(
            metavar="N[,N..]|PATTERN=N..",
            help="Fixed weights of each neuron: counts, or shares below 1; one, one for each layer, or by name.",
        ),
    ] = None,
    lr: Annotated[float | None, typer.Option(metavar="X", help="Learning rate.")] = None,
    weight_decay: Annotated[float | None, typer.Option(metavar="X", help="Weight decay.")] = None,
    momentum: Annotated[float | None, typer.Option(metavar="X", help="Momentum (sgd).")] = None,
    optimizer: Annotated[
        str | None,
        typer.Option(metavar="|".join(OPTIMIZERS), help="Optimizer.", autocompletion=options.among(OPTIMIZERS)),
    ] = None,
    milestones: Annotated[
        str | None, typer.Option(metavar="E[,E..]", help="Epochs after which the learning rate is multiplied by gamma.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(metavar="X", help="Factor at each milestone.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(SCHEDULES),
            help="How the learning rate goes: by milestones, or to zero by a cosine.",
            autocompletion=options.among(SCHEDULES),
        ),
    ] = None,
    warmup: Annotated[
        float | None, typer.Option(metavar="E", help="Epochs in which the learning rate rises, from step to step.")
    ] = None,
    spawn_epoch: Annotated[
        int | None,
        typer.Option(metavar="K", help="Copies of one network, which part after its epoch K; 0 shares the beginning."),
    ] = None,
    clip: Annotated[float | None, typer.Option(metavar="X", help="Longest gradient (norm of all).")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", help="Batch size.")] = None,
    save_every: Annotated[int | None, typer.Option(metavar="N", help="Epochs between checkpoints [5].")] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of a new group.")] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Go on with this group as its registry knows it; takes --seeds and --save-every alone.",
            autocompletion=options.complete_groups,
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Models at a time on the CPU [all cores].")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings; options override them.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings as TOML and stop.")] = False,
    device: options.Device = "auto",
    registry: options.RegistryOption = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Train a group of networks that share their symmetry-breaking tensors, from several seeds."""
    given = {
        "arch": arch, "dataset": dataset, "symmetry": symmetry, "seeds": seeds, "seed": seed, "epochs": epochs,
        "width": width, "depth": depth, "norm": norm, "activation": activation, "heads": heads, "patch": patch,
        "tied": tied, "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "optimizer": optimizer,
        "gamma": gamma, "schedule": schedule, "warmup": warmup, "clip": clip, "batch_size": batch_size,
        "save_every": save_every, "spawn_epoch": spawn_epoch, "arch_name": arch_name,
        "model_arg": parse_model_args(model_arg) if model_arg else None,
        "kappa": parse_by_layer(kappa, "kappa") if kappa is not None else None,
        "num_fixed": parse_by_layer(num_fixed, "num-fixed") if num_fixed is not None else None,
        "milestones": options.indices(milestones, "milestones"),
    }  # fmt: skip
    settings = _read(config) | {key: value for key, value in given.items() if value is not None}
    if data:
        settings["data"] = settings.get("data", {}) | options.parameters(data)
    if workers is not None and workers < 1:
        raise UsageError(f"workers must be at least 1, not {workers}")
    with render.progress() as progress:
        context = Context(
            registry=registry,
            data_dir=data_dir,
            device=device,
            argv=options.command_line(),
            progress=progress,
            say=render.say,
        )
        if group is None:
            requests = [requested(context, settings)]
            if dry_run:
                import tomli_w

                render.emit(tomli_w.dumps(requests[0].settings(settings)), end="")
                return
        else:
            requests = _going_on(context, group, settings, name, dry_run)
        from nid_cli.pipeline.training.train import train as run

        outcomes = [run(context, request, name=name, workers=workers) for request in requests]
    records = [_record(outcome, model) for outcome in outcomes for model in outcome.models]
    output.show(TrainedModel, records, as_json=as_json, export=None, human=lambda: _table(records))
    if not any(outcome.trained for outcome in outcomes):
        render.say(f"{outcomes[0].group.name}: all {len(records)} models are trained already; nothing to do")
    problems = [problem for outcome in outcomes for problem in outcome.problems]
    for problem in problems:
        render.say(f"error: {problem}")
    if problems:
        raise typer.Exit(1)


def _going_on(context: Context, group: str, settings: dict[str, Any], name: str | None, dry_run: bool) -> list[Request]:
    own = {key: value for key, value in settings.items() if key not in ("seeds", "save_every")}
    if own or name is not None or dry_run:
        said = next(iter(own), "name" if name is not None else "dry_run").replace("_", "-")
        raise UsageError(
            f"--group goes on with a group as it is, and --{said} would change it",
            "leave it out, or give all settings without --group",
        )
    return going_on(context, group, settings.get("seeds"), settings.get("save_every"))


def _record(outcome: Trained, model: Model) -> dict[str, Any]:
    last: dict[str, Any] = (outcome.metrics[model.id] or [{}])[-1]
    record = TrainedModel(
        status=model.status,
        trained_now=model.number in outcome.trained,
        epochs=sorted(model.checkpoints),
        seeds=model.seeds,
        epoch=last.get("epoch"),
        **{s: SplitMetrics(loss=last.get(f"{s}_loss"), accuracy=last.get(f"{s}_accuracy")) for s in SPLITS},
    )
    return {**outcome.group.identity, "model": model.number, **record.values()}


def _table(records: list[dict[str, Any]]) -> None:
    metrics = ("train_accuracy", "val_accuracy", "test_loss", "test_accuracy")
    render.table(
        ("group", "model", "status", "epoch", *(m.replace("_", " ") for m in metrics)),
        [(r["group"], r["model"], r["status"], r.get("epoch"), *(r.get(m) for m in metrics)) for r in records],
    )


def _read(config: Path | None) -> dict[str, Any]:
    if config is None:
        return {}
    try:
        values = tomllib.loads(config.read_text())
    except OSError as error:
        raise NotFoundError(f"cannot read {config}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{config} is not TOML: {error}", "nid train --dry-run prints an example") from None
    if not isinstance(values.get("data", {}), dict):
        raise UsageError(f"data in {config} must be a table of parameters")
    return {key.replace("-", "_"): value for key, value in values.items()}
