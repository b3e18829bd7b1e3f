"""``nid coherence``: subspace coherence and anisotropy of a model's layers; and the synthetic experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nid_cli.errors import UsageError
from nid_cli.nets.graph import layer_label
from nid_cli.pipeline.analyse import Lab, Values, analyse
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.subspaces import Subspaces, by_model, check_share, need_models
from nid_cli.recipes import graph_of
from nid_cli.registry.database import open_for_writing
from nid_cli.registry.results import Subject
from nid_cli.registry.selection import Selection, select_models

if TYPE_CHECKING:
    from nid_cli.analysis.synthetic import SyntheticSettings

OUTPUT = "output"


def coherence(
    context: Context, selection: Selection, *, explained_variance: float = 0.9, force: bool = False
) -> list[dict[str, Any]]:
    """Records (``nid.coherence/1``): one for each model, epoch and layer, whose inputs are meant, and for the output.

    Raises:
        UsageError, NotFoundError: a selector cannot be read, or nothing is selected.
    """
    check_share(explained_variance)
    registry = open_for_writing(context.registry)
    subjects = []
    with registry.read() as connection:
        for selected in select_models(connection, selection):
            layers = [op.name for op in graph_of(selected.group.settings).weighted] + [OUTPUT]
            for epoch in selected.epochs:
                for model in selected.models:
                    for layer in layers:
                        parameters = {"layer": layer, "explained_variance": explained_variance}
                        subjects.append(Subject("coherence", selected.group, epoch, (model,), parameters))
    need_models(subjects)
    return analyse(context, "coherence", subjects, _compute, force=force)


def _compute(lab: Lab, missing: Sequence[Subject]) -> Iterator[tuple[Subject, Values]]:
    from nid_cli.analysis.coherence import layer_coherence
    from nid_cli.analysis.cost import layer_constraint

    for group, epoch, model, batch in by_model(lab, missing, "coherence"):
        subspaces = Subspaces(lab, group, epoch, model)
        rule = lab.constraint(group)
        for subject in batch:
            layer = subject.parameters["layer"]
            subspace = subspaces.of(layer, subject.parameters["explained_variance"])
            neurons, mask = 0, None
            if layer != OUTPUT:
                weight = subspaces.state[f"{layer}.weight"]
                neurons, mask = len(weight), layer_constraint(layer, weight, rule.pinned, rule.anchor)[1]
            yield subject, {"layer": layer_label(layer), **layer_coherence(subspace, neurons, mask)}


def synthetic(context: Context, options: Mapping[str, Any], *, force: bool = False) -> list[dict[str, Any]]:
    """Records of the synthetic coherence experiment (``nid.synthetic/1``, section 9), all trained in one batch.

    Raises:
        UsageError: a setting that cannot be.
    """
    from nid_cli.analysis.synthetic import SyntheticSettings

    try:
        settings = SyntheticSettings(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    open_for_writing(context.registry, create=True)
    common = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(settings).items()}
    subjects = [
        Subject(
            "synthetic",
            None,
            None,
            (),
            common | {"family": family, "active_copies": copies, "outer_seed": outer, "pair": pair},
        )
        for family in settings.families
        for copies in range(1, settings.copies + 1)
        for outer in range(settings.outer_seeds)
        for pair in range(settings.num_pairs)
    ]
    return analyse(
        context, "coherence synthetic", subjects, lambda lab, missing: _train(lab, missing, settings), force=force
    )


def _train(lab: Lab, missing: Sequence[Subject], settings: SyntheticSettings) -> Iterator[tuple[Subject, Values]]:
    """The whole experiment is one batch: what is missing comes from training all of it."""
    from nid_cli.analysis.synthetic import run

    done = 0

    def advance(students: int) -> None:
        nonlocal done
        done += students
        lab.context.progress("students", done, settings.models, "")

    found = {
        (r.family, r.active_copies, r.outer_seed, r.pair): r for r in run(settings, device=lab.device, advance=advance)
    }
    for subject in missing:
        p = subject.parameters
        yield subject, asdict(found[p["family"], p["active_copies"], p["outer_seed"], p["pair"]])
