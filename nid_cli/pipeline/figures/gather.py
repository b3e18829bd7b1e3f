"""How the records of each figure are found: its requests for results, checked against what can be drawn."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from nid_cli.analysis.catalog import METHODS, REPAIRS
from nid_cli.analysis.correlation import LEAST
from nid_cli.analysis.parameters import (
    CoherenceParameters,
    CostParameters,
    LmcParameters,
    MatchParameters,
    MergeParameters,
    NtkParameters,
    Parameters,
    SimilarityParameters,
    usual_alignments,
)
from nid_cli.analysis.synthetic_settings import SyntheticSettings
from nid_cli.errors import NotFoundError, UsageError
from nid_cli.pipeline.analyses.catalog import ANALYSES, SCOPES
from nid_cli.pipeline.analyses.requests import Request
from nid_cli.pipeline.analyses.run import run
from nid_cli.pipeline.choices import one_of, some_of
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.figures import overlay
from nid_cli.pipeline.figures.recorded import Records, recorded, with_settings
from nid_cli.pipeline.figures.table import Options
from nid_cli.pipeline.table import correlate, join
from nid_cli.registry import runs
from nid_cli.registry.opening import open_for_reading
from nid_cli.registry.selection import matching_groups, select_models
from nid_cli.specs import ALIGNMENTS, MERGES, SPLITS, Selection
from nid_cli.specs.selection import PATHS, parse_numbers

AGAINST = ("kappa", "fixed", "epoch")
BARRIERS = ("chord", "max", "mid")
COSTS = ("matrix", "distribution", "scatter")
# What a summary shows of a group, beside its training.
SUMMARIZED = ("lmc", "match", "cost", "coherence")
# With more columns of panels than these none can be read.
MOST_COLUMNS = 8

Gathered = tuple[Records, dict[str, Any]]


def lmc(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Curves over lambda."""
    own = {"split": one_of("split", options["split"], SPLITS)} | _overlay("lmc", options)
    [records] = recorded(context, [_lmc_request(selection, options)], compute=compute)
    _need_applicable(records)
    return records, own


def anatomy(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """What barriers are made of."""
    own = {"split": one_of("split", options["split"], SPLITS)}
    repairs = [None if name == "none" else name for name in some_of("repair", options["repair"], ("none", *REPAIRS))]
    requests = [_lmc_request(selection, {**options, "repair": repair}, anatomy=True) for repair in repairs]
    found = {r["result_id"]: r for records in recorded(context, requests, compute=compute) for r in records}
    _need_applicable(list(found.values()))
    return list(found.values()), own


def barrier(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Barriers over an axis."""
    own = {"split": one_of("split", options["split"], SPLITS), "kind": one_of("kind", options["kind"], BARRIERS)}
    if options["pairs"] == PATHS:
        raise UsageError("this figure shows pairs of models, not two epochs of one", "nid plot lmc --pairs epochs does")
    selection = _over_epochs(selection, options["against"])
    request = _lmc_request(selection, options)
    _check_against(options["against"], AGAINST, _settings(context, selection))
    [records] = recorded(context, [request], compute=compute)
    _need_applicable(records)
    _need_places(records, options["against"])
    return records, own | {"against": options["against"]}


def match(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Matching objectives over an axis."""
    selection = _over_epochs(selection, options["against"])
    _check_against(options["against"], AGAINST, _settings(context, selection))
    parameters = MatchParameters(at=(options["at"],), similarity=(options["similarity"],))
    own = {"against": options["against"]} | _overlay("match", options)
    [records] = recorded(context, [_request("match", selection, parameters, options["pairs"])], compute=compute)
    _need_places(records, options["against"])
    return records, own


def similarity(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Predictions, layers and updates of pairs."""
    own = {"split": one_of("split", options["split"], SPLITS)}
    given = options["align"]
    align = SimilarityParameters().align if given is None else some_of("alignment", given, ALIGNMENTS)
    parameters = SimilarityParameters(
        align=tuple(align), at=(options["at"],), since=options["since"], learn_steps=options["learn_steps"]
    )
    [records] = recorded(context, [_request("similarity", selection, parameters, options["pairs"])], compute=compute)
    _need_applicable(records)
    return records, own


def merge(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Merges of all chosen models, or of the first few of them, as many as each of ``counts`` says."""
    own = {"split": one_of("split", options["split"], SPLITS)}
    align = tuple(some_of("alignment", ",".join(options["align"]), MERGES))
    parameters = MergeParameters(align=align, bn_reset=options["bn_reset"], repair=options["repair"])
    selections = [selection] if options["counts"] is None else _first_few(selection, options["counts"])
    requests = [_request("merge", chosen, parameters) for chosen in selections]
    records = [record for found in recorded(context, requests, compute=compute) for record in found]
    _need_applicable(records)
    return records, own


def _first_few(selection: Selection, counts: str) -> list[Selection]:
    """The first so many of the chosen models, for each of several numbers."""
    found = []
    for count in parse_numbers(counts, "counts"):
        if count < 2:
            raise UsageError(
                f"a merge is of two models or more, and --counts {counts} asks for {count}", "--counts 2,4,8"
            )
        models = parse_numbers(selection.models, "models") if selection.models else list(range(1, count + 1))
        if len(models) < count:
            raise UsageError(f"--counts {counts} asks for {count} models, and --models chooses {len(models)}")
        found.append(replace(selection, models=",".join(map(str, models[:count]))))
    return found


def cost(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Costs of pairs of neurons."""
    kind, across = one_of("kind", options["kind"], COSTS), options["across"]
    if kind == "matrix":
        selection = _one_model(selection)
    _check_against(across, ("layer",), _settings(context, selection), "columns of panels")
    methods = ["ridge"] if kind == "scatter" else some_of("method", options["method"], METHODS)
    fit = {"betas": tuple(options["betas"]), "neurons": options["neurons"]}
    layers = options["layers"] and tuple(options["layers"])
    common = {"layers": layers, "explained_variance": options["explained_variance"]}
    requests = [
        _request("cost", selection, CostParameters(method=method, **common, **(fit if method == "ridge" else {})))
        for method in methods
    ]
    records = [record for found in recorded(context, requests, compute=compute) for record in found]
    if across != "layer" and (without := [r for r in records if across not in r["settings"]["data"]]):
        raise UsageError(
            f"the data of {without[0]['group']} have no {across}", "choose groups with --dataset or --group"
        )
    places = {str(r["layer"] if across == "layer" else r["settings"]["data"][across]) for r in records}
    if kind == "matrix" and len(places) > MOST_COLUMNS:
        raise UsageError(f"{len(places)} columns of panels are too many to be read", "choose some with --layers 0,1,2")
    return records, {"kind": kind, "across": across}


def coherence(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Coherence over layers or epochs."""
    against = one_of("axis", options["against"], ("layer", "epoch"))
    selection = _over_epochs(selection, against)
    parameters = CoherenceParameters(explained_variance=options["explained_variance"])
    [records] = recorded(context, [_request("coherence", selection, parameters)], compute=compute)
    return records, {"against": against}


def ntk(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Kernels over epochs."""
    selection = _over_epochs(selection, "epoch")
    parameters = NtkParameters(samples=options["samples"], split=one_of("split", options["split"], SPLITS))
    [records] = recorded(context, [_request("ntk", selection, parameters)], compute=compute)
    if not any(record["status"] == "ok" for record in records):
        raise NotFoundError(f"none of the results can be drawn: {records[0]['reason']}")
    return records, {}


def synthetic(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """The synthetic experiment."""
    request = Request(analysis="synthetic", parameters=SyntheticSettings(**options))
    [records] = recorded(context, [request], compute=compute)
    return records, {}


def relate(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Rows of the table that have both columns, with their rank correlation."""
    x, y = options["x"], options["y"]
    variant = {name: options[name] for name in ("points", "bn_reset")}
    found = join(context, selection, [x, y], variant)
    if found.lacking and compute:
        for lack in found.lacking.values():
            run(context, lack.request, force=lack.force)
        found = join(context, selection, [x, y], variant)
    if wrong := [name for name in (x, y) if any(isinstance(row[name], str | list) for row in found.rows)]:
        raise UsageError(f"{wrong[0]} is not a number in every row", "choose groups of one number, or another column")
    rows = [row for row in found.rows if row[x] is not None and row[y] is not None]
    if not rows:
        commands = " && ".join(lack.command(context) for lack in found.lacking.values())
        raise NotFoundError(f"no selected group has both {x} and {y}", f"run: {commands} (or add --compute)")
    several = len({row["group"] for row in rows}) >= LEAST
    own = {"x": x, "y": y, "log": (options["log_x"], options["log_y"])}
    return with_settings(context, rows), own | {"correlation": correlate(rows, x, y)[0] if several else None}


def training(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """Metrics over epochs."""
    splits = some_of("split", options["split"], SPLITS)
    return epochs_of(context, selection), {"splits": splits}


def epochs_of(context: Context, selection: Selection) -> Records:
    """One record for each model and epoch of the selected groups: the metrics of its training.

    Raises:
        NotFoundError: no group matches, or none of them was trained here.
    """
    found: Records = []
    wanted = parse_numbers(selection.models, "models") if selection.models else None
    with open_for_reading(context.registry).read() as connection:
        for group in matching_groups(connection, selection):
            members = [m for m in runs.models_of(connection, group_id=group.id) if wanted is None or m.number in wanted]
            metrics = runs.metrics_of(connection, [member.id for member in members])
            for member in members:
                identity = group.identity | {"model": member.number}
                found += [identity | row for row in metrics[member.id]]
    if not any(record["epoch"] > 0 for record in found):
        raise NotFoundError(
            "the selected groups have no recorded epochs: they were imported, or trained for none",
            "nid train --epochs 5 records them",
        )
    return with_settings(context, found)


def summary(context: Context, selection: Selection, options: Options, compute: bool) -> Gathered:
    """All that a page on one group shows."""
    with open_for_reading(context.registry).read() as connection:
        chosen = matching_groups(connection, selection)
        if len(chosen) > 1:
            raise UsageError(
                f"a summary shows one group, and {len(chosen)} match",
                f"choose one: --group {' or --group '.join(group.name for group in chosen[:6])}",
            )
        selected = list(select_models(connection, selection, least=1))
        if not selected:
            raise NotFoundError(f"{chosen[0].name} has no complete model", "finish its training")
        group, members = selected[0].group, selected[0].models
        metrics = runs.metrics_of(connection, [m.id for m in members])
    own = Selection(group=(group.name,), models=selection.models, epochs=str(selected[0].epochs[-1]))
    names = [name for name in SUMMARIZED if SCOPES[ANALYSES[name].scope] <= len(members)]
    requests = [_request(name, own, ANALYSES[name].parameters()) for name in names]
    found = dict(zip(names, recorded(context, requests, compute=compute), strict=True))
    trained = [group.identity | {"model": m.number} | row for m in members for row in metrics[m.id]]
    found["training"] = with_settings(context, trained)
    return [record | {"part": name} for name, own in found.items() for record in own], {}


def _request(analysis: str, selection: Selection, parameters: Parameters, pairs: str = "all") -> Request:
    return Request(analysis=analysis, selection=selection, parameters=parameters, pairs=pairs)


def _lmc_request(selection: Selection, options: Options, anatomy: bool = False) -> Request:
    given = options["align"]
    align = usual_alignments(options["pairs"]) if given is None else some_of("alignment", given, ALIGNMENTS)
    variant = {name: options[name] for name in ("points", "bn_reset", "learn_steps", "repair")}
    parameters = LmcParameters(align=tuple(align), anatomy=anatomy, **variant)
    return _request("lmc", selection, parameters, options["pairs"])


def _overlay(figure: str, options: Options) -> dict[str, Any]:
    """Others' values for ``draw`` and ``table``, where they were asked for."""
    source = options["overlay"]
    return {} if source is None else {"overlay": overlay.read(figure, source)}


def _one_model(selection: Selection) -> Selection:
    """The first of the models, as a matrix is that of one: no others need results."""
    chosen = parse_numbers(selection.models, "models") if selection.models else [1]
    return replace(selection, models=str(chosen[0]))


def _over_epochs(selection: Selection, against: str) -> Selection:
    """All epochs where the epoch is the axis and none were chosen."""
    return replace(selection, epochs="all") if against == "epoch" and selection.epochs == "last" else selection


def _settings(context: Context, selection: Selection) -> list[dict[str, Any]]:
    with open_for_reading(context.registry).read() as connection:
        return [group.spec.settings() for group in matching_groups(connection, selection)]


def _check_against(given: str, always: Sequence[str], settings: Iterable[Options], what: str = "axis") -> None:
    """Raises a UsageError unless the axis is one that every figure has, or a data parameter of a selected group."""
    parameters = dict.fromkeys(name for own in settings for name in own["data"])
    one_of(what, given, [*always, *parameters])


def _need_applicable(records: Records) -> None:
    if not any(record["status"] == "ok" for record in records):
        raise NotFoundError("none of the results can be drawn: the alignment is not applicable to these groups")


def _need_places(records: Records, against: str) -> None:
    """Raises a UsageError where no record has a place on the axis."""
    from nid_cli.plots.against import value

    if all(value(record, against) is None for record in records):
        raise UsageError(
            f"none of the selected groups has one {against} to put on the axis", "--against epoch suits every group"
        )
