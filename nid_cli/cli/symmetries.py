"""``nid symmetries``."""

from __future__ import annotations

from typing import Annotated

import typer

from nid_cli.cli import options, output, render
from nid_cli.data.catalog import CATALOG
from nid_cli.errors import UsageError
from nid_cli.pipeline.context import Context
from nid_cli.records.symmetries import PermutationPlaces

EXAMPLES = options.examples(
    "nid symmetries torchvision.models:resnet18 --input 3x64x64",
    "nid symmetries nets.py:build --model-arg width=32 --dataset mnist",
    "nid symmetries nets.py:language --input 16:100 --json",
    "nid symmetries mlp-digits-standard",
)


def symmetries(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|GROUP",
            help="FILE.py:FUNCTION or package.module:FUNCTION, which returns a torch module; or a group's name.",
            autocompletion=options.complete_groups,
        ),
    ],
    given: options.Input = None,
    model_arg: options.ModelArgs = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A data set whose samples the network reads.",
            autocompletion=options.among(CATALOG),
        ),
    ] = None,
    data: options.DataParameters = None,
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
    export: options.Export = None,
) -> None:
    """Derive which permutations leave a network unchanged, and prove it by running the network."""
    from nid_cli.pipeline.importing import symmetries as pipeline
    from nid_cli.pipeline.importing.models import is_model, parse_model_args

    output.check(export)
    context = Context(registry=registry, argv=options.command_line(), say=render.say)
    if is_model(model):
        found = pipeline.of_model(
            context, model, parse_model_args(model_arg or ()), given, dataset, options.parameters(data or ())
        )
    else:
        own = {"input": given, "model-arg": model_arg, "dataset": dataset, "data": data}
        if said := [option for option, value in own.items() if value is not None]:
            raise UsageError(
                f"--{said[0]} goes with a model, and {model!r} would be a group's name",
                "a model is FILE.py:FUNCTION or package.module:FUNCTION",
            )
        found = pipeline.of_group(context, model)
    records = [record.values() for record in pipeline.records(found.graph)]
    output.show(
        PermutationPlaces,
        records,
        as_json=as_json,
        export=export,
        human=lambda: _table(records),
        summary=pipeline.summary(found),
    )
    if not as_json:
        render.say(found.sentence(model))


def _table(records: list[dict[str, object]]) -> None:
    rows = [
        (r["label"], r["size"], r["depends_on"], ", ".join(f"{name}[{axis}]" for name, axis in r["places"]))  # type: ignore[attr-defined]
        for r in records
    ]
    render.table(("space", "size", "inside of", "places"), rows)
