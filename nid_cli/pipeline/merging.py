"""The merge of a result as a file: a state dictionary like that of any model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nid_cli import files
from nid_cli.errors import UsageError
from nid_cli.nets.biased import biased
from nid_cli.pipeline.analyses.requests import Request
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.state_files import FORMATS, check_path, content, dictionary
from nid_cli.registry import results
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.results import ResultKey


@contextmanager
def writing(context: Context, request: Request, out: Path) -> Iterator[None]:
    """Around the call that makes the results of ``request``: afterwards the merge is in ``out``.

    Raises:
        UsageError: the file cannot be written, or there is not one merge to write; nothing is computed then.
    """
    check_path("--out", out, FORMATS)
    key = _only(request.keys(context))
    _refuse_added(key)
    yield
    _write(context, key, out)


def _only(keys: list[ResultKey]) -> ResultKey:
    if len(keys) == 1:
        return keys[0]
    chosen = {
        "groups": dict.fromkeys(key.of_group[0].name for key in keys),
        "epochs": dict.fromkeys(str(key.of_group[1]) for key in keys),
        "alignments": dict.fromkeys(key.parameters["align"] for key in keys),
    }
    several = [f"{len(own)} {what} ({', '.join(own)})" for what, own in chosen.items() if len(own) > 1]
    raise UsageError(
        f"--out writes one merge, and here are {' and '.join(several)}",
        "choose one of each: --group NAME --epochs last --align cycle",
    )


def _refuse_added(key: ResultKey) -> None:
    group, _ = key.of_group
    if "repair" in key.parameters and biased(group.graph) is not group.graph:
        added = biased(group.graph).parameters.keys() - group.graph.parameters.keys()
        raise UsageError(
            f"repair gives layers of {group.name} biases that its network lacks ({min(added)} and others): "
            "no module of that network could load the file",
            "--bn-reset needs none" if group.graph.statistics else "leave --repair out",
        )


def _write(context: Context, key: ResultKey, out: Path) -> None:
    from nid_cli.pipeline.analyses.lab import lab_of
    from nid_cli.pipeline.analyses.merge import finished, in_frame
    from nid_cli.pipeline.analyses.run import with_matrices

    registry = open_for_reading(context.registry)
    with registry.read() as connection:
        [found] = results.records(connection, [key.text])
    record = with_matrices(registry, found, True)
    group, epoch = key.of_group
    if record["status"] != "ok":
        raise UsageError(f"there is no such merge of {group.name}: {record['reason']}", "--align none")
    lab = lab_of(registry, context)
    parts = [lab.model(group, model, at) for model, at in key.sides]
    moved = in_frame(group.graph, parts, record.get("permutations"))
    _, state = finished(group.graph, moved, lab.data(group), key.parameters)
    sha256 = files.write_atomic(out.absolute(), content(dictionary(group.graph, state), out.suffix))
    numbers = ", ".join(str(model.number) for model in key.models)
    context.say(
        f"{out} is the merge of models {numbers} of {group.name} at epoch {epoch} (result {record['result_id']}, "
        f"SHA-256 {sha256})"
    )
