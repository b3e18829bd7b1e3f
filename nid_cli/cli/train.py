"""``nid train``."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nid_cli.cli import options, output, render
from nid_cli.cli.placing import Placing, Stack, placing
from nid_cli.cli.settings import SETTINGS, settings_of
from nid_cli.errors import NotFoundError, UsageError
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.training.requests import Request, requested
from nid_cli.records.training import SplitMetrics, TrainedModel
from nid_cli.specs import SPLITS

if TYPE_CHECKING:
    from nid_cli.pipeline.training.outcome import Trained
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


@options.bundle("settings", SETTINGS, settings_of)
@placing
def train(
    settings: dict[str, Any],
    where: Placing,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of a new group.")] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Go on with this group as its registry knows it; takes --seeds and --save-every alone.",
            autocompletion=options.complete_groups,
        ),
    ] = None,
    stack: Stack = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings; options override them.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings as TOML and stop.")] = False,
    device: options.Device = "auto",
    registry: options.RegistryOption = None,
    data_dir: options.DataDir = None,
    as_json: options.Json = False,
) -> None:
    """Train a group of networks that share their symmetry-breaking tensors, from several seeds."""
    given = _read(config)
    if "data" in settings:
        settings["data"] = given.get("data", {}) | settings["data"]
    settings = given | settings
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

        outcomes = run(context, requests, name=name, engine=where.engine, place=where.place(device), stack=stack)
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
    from nid_cli.pipeline.training.again import going_on

    return going_on(context, group, settings.get("seeds"), settings.get("save_every"))


def _record(outcome: Trained, model: Model) -> dict[str, Any]:
    last = outcome.metrics[model.id]
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
