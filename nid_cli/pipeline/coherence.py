"""``nid coherence``: subspace coherence and anisotropy of a model's layers; and the synthetic experiment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import product
from typing import Any

from nid_cli.analysis.synthetic_settings import SyntheticSettings
from nid_cli.errors import UsageError
from nid_cli.nets.graph import layer_label
from nid_cli.pipeline.analyse import Lab, Values, analyse
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.subspaces import Subspaces, by_model, check_share, need_models
from nid_cli.recipes import graph_of
from nid_cli.registry.opening import open_for_writing
from nid_cli.registry.results import Subject
from nid_cli.registry.selection import Selection, select_models

OUTPUT = "output"


def subjects(context: Context, selection: Selection, *, explained_variance: float = 0.9) -> list[Subject]:
    """The (group, epoch, model, layer) that a call speaks of, in order; the last layer of a model is its output.

    Raises:
        UsageError, NotFoundError: a selector cannot be read, or nothing is selected.
    """
    check_share(explained_variance)
    registry = open_for_writing(context.registry)
    found = []
    with registry.read() as connection:
        for selected in select_models(connection, selection):
            layers = [op.name for op in graph_of(selected.group.settings).weighted] + [OUTPUT]
            for epoch in selected.epochs:
                for model in selected.models:
                    for layer in layers:
                        parameters = {"layer": layer, "explained_variance": explained_variance}
                        found.append(Subject("coherence", selected.group, epoch, (model,), parameters))
    need_models(found)
    return found


def coherence(context: Context, wanted: Sequence[Subject], *, force: bool = False) -> list[dict[str, Any]]:
    """Records of coherence (``nid.coherence/1``) for ``wanted``, in its order; what is missing is computed.

    Raises:
        IntegrityError: files or data are not what was recorded.
    """
    return analyse(context, "coherence", wanted, _compute, force=force)


def _compute(lab: Lab, missing: Sequence[Subject]) -> Iterator[tuple[Subject, Values]]:
    from nid_cli.analysis.coherence import layer_coherence
    from nid_cli.analysis.cost import layer_constraint

    for group, epoch, model, batch in by_model(lab, missing, "coherence"):
        subspaces = Subspaces(lab, group, epoch, model, [s.parameters["layer"] for s in batch])
        rule = lab.constraint(group)
        for subject in batch:
            layer = subject.parameters["layer"]
            subspace = subspaces.of(layer, subject.parameters["explained_variance"])
            neurons, mask = 0, None
            if layer != OUTPUT:
                weight = subspaces.state[f"{layer}.weight"]
                neurons, mask = len(weight), layer_constraint(layer, weight, rule.pinned, rule.anchor)[1]
            yield subject, {"layer": layer_label(layer), **layer_coherence(subspace, neurons, mask)}


# How large the experiment is does not change what one pair is.
SIZE = ("families", "outer_seeds", "num_pairs")


CASE = ("family", "active_copies", "outer_seed", "pair")


def _settings(options: Mapping[str, Any]) -> SyntheticSettings:
    try:
        return SyntheticSettings(**options)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None


def synthetic_subjects(options: Mapping[str, Any]) -> list[Subject]:
    """The (family, active copies, outer seed, pair) of an experiment, in order.

    Raises:
        UsageError: a setting that cannot be.
    """
    settings = _settings(options)
    common = {name: value for name, value in asdict(settings).items() if name not in SIZE}
    cases = product(
        settings.families, range(1, settings.copies + 1), range(settings.outer_seeds), range(settings.num_pairs)
    )
    return [Subject("synthetic", None, None, (), common | dict(zip(CASE, case, strict=True))) for case in cases]


def synthetic(context: Context, options: Mapping[str, Any], *, force: bool = False) -> list[dict[str, Any]]:
    """Records of the synthetic coherence experiment (``nid.synthetic/1``, section 9).

    Raises:
        UsageError: a setting that cannot be.
    """
    train = partial(_train, settings=_settings(options))
    return analyse(context, "coherence synthetic", synthetic_subjects(options), train, force=force)


def _train(lab: Lab, missing: Sequence[Subject], settings: SyntheticSettings) -> Iterator[tuple[Subject, Values]]:
    """Outer seed by outer seed: all its students are trained side by side, then recorded."""
    from nid_cli.analysis.synthetic import run

    by_seed: dict[int, list[Subject]] = {}
    for subject in missing:
        by_seed.setdefault(subject.parameters["outer_seed"], []).append(subject)
    total, done = settings.models // settings.outer_seeds * len(by_seed), 0

    def advance(students: int) -> None:
        nonlocal done
        done += students
        lab.context.progress("students", done, total, "")

    for outer_seed, subjects in by_seed.items():
        records = run(settings, device=lab.device, outer_seeds=[outer_seed], advance=advance)
        found = {tuple(getattr(r, name) for name in CASE): asdict(r) for r in records}
        for subject in subjects:
            yield subject, found[tuple(subject.parameters[name] for name in CASE)]
