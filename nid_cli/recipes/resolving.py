"""How options become one resolved specification: what is not given comes from the recipe. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from nid_cli.data.catalog import CATALOG, measures_of, resolve_parameters
from nid_cli.errors import UsageError, unknown
from nid_cli.graphs import network_of
from nid_cli.nets import ARCHITECTURES, Graph
from nid_cli.nets.description import Description
from nid_cli.recipes.tables import GENERAL, OWN, Settings, recipe_of
from nid_cli.specs import (
    FIELDS,
    SYMMETRIES,
    DataSpec,
    Kappa,
    NetworkSpec,
    RunSpec,
    by_layer,
    parse_by_layer,
    symmetry_name,
)

# Settings of a command that are no part of what a run is.
CALL_SETTINGS = ("seeds", "save_every")
# What follows from the symmetry type, from a file of data and from a network that was taken in.
FACTS = ("init", "graph", "content", "input_shape", "outputs", "targets", "positions", "vocabulary")
# What shapes an architecture of ours; of a user's own network it is its code's.
SHAPING = ("width", "depth", "norm", "activation", "heads", "patch", "tied")
KNOWN = (*(name for name in FIELDS if name not in FACTS), *CALL_SETTINGS)
WHOLE = ("width", "depth", "heads", "patch", "spawn_epoch", "epochs", "batch_size", "seed", *CALL_SETTINGS)
REAL = ("lr", "weight_decay", "momentum", "gamma", "warmup", "clip")
# Those that a network or a training may be without.
OPTIONAL = ("width", "depth", "heads", "patch", "spawn_epoch", "clip")


def data_of(options: Settings, file: DataSpec | None = None) -> DataSpec:
    """The data set that options name.

    Args:
        file: the data set, where it is a file of tensors (``data.file``).

    Raises:
        UsageError: no such data set, or not with these parameters.
    """
    name = str(options.get("dataset", "digits"))
    if file is None and name not in CATALOG:
        raise unknown("data set", name, CATALOG)
    return file or DataSpec(name=name, parameters=resolve_parameters(name, options.get("data", {})))


def resolve(
    options: Settings, file: DataSpec | None = None, description: str | None = None
) -> tuple[RunSpec, dict[str, Any]]:
    """The full specification for what was given, and the settings of the call (seeds, save_every).

    Args:
        options: any of ``KNOWN``; what is missing comes from the recipe of (arch, dataset).
        file: the data set, where it is a file of tensors (``data.file``).
        description: the text of the network that ``arch`` names, where it is the user's own.

    Raises:
        UsageError: an unknown name or a value that cannot be.
    """
    for name in options:
        if name not in KNOWN:
            raise unknown("setting", name, KNOWN)
    try:
        return _resolve(options, data_of(options, file), description)
    except (TypeError, ValueError, OverflowError) as error:  # a configuration file may hold anything
        raise UsageError(f"a setting has the wrong type: {error}") from None


def usual_save_every(spec: RunSpec) -> int:
    """How many epochs lie between the checkpoints of a training, where nothing else is said."""
    recipe = OWN if spec.network.graph else recipe_of(spec.network.arch, spec.data.name)
    return int(recipe["save_every"])


def usual_seeds(options: Settings) -> int:
    """How many models a training makes, where nothing else is said."""
    arch, dataset = str(options.get("arch", "mlp")), str(options.get("dataset", "digits"))
    recipe = recipe_of(arch, dataset) if arch in ARCHITECTURES else OWN
    return int(recipe["seeds"])


def _recipe(arch: str, dataset: str, description: str | None, options: Settings) -> Settings:
    """The defaults of an architecture on a data set."""
    if description is None:
        if arch not in ARCHITECTURES:
            raise unknown("architecture", arch, ARCHITECTURES)
        return recipe_of(arch, dataset)
    if own := [name for name in SHAPING if options.get(name) is not None]:
        raise UsageError(
            f"{own[0]} is for the architectures of nid; that of {arch} is its code's",
            "--model-arg KEY=VALUE gives arguments to the function",
        )
    return OWN


def _network(values: Settings, data: DataSpec, description: str | None) -> tuple[NetworkSpec, Graph]:
    shape = {name: values[name] for name in ("arch", *SHAPING)}
    if description is not None:
        if SYMMETRIES[values["symmetry"]].gated:
            raise UsageError(
                f"{values['symmetry']} puts gates in the place of activations, which only architectures of nid offer",
                f"choose another --symmetry, or an --arch among {', '.join(ARCHITECTURES)}",
            )
        shape["graph"] = Description.from_json(description).hash
    network = NetworkSpec(**shape)
    graph = network_of(network, data, values["symmetry"], description)
    if not graph.weighted:
        raise UsageError(f"{network.arch} has no weighted layer (linear, convolution, addmm): nothing to train here")
    if not graph.trained:
        raise UsageError(f"nothing of {network.arch} is trained: all of its parameters are frozen")
    return network, graph


def _optimizer(values: Settings, options: Settings) -> dict[str, Any]:
    """Momentum, milestones and gamma, without what the optimizer or the schedule does not use."""
    if values["momentum"] >= 1:
        raise UsageError(f"momentum must lie below 1, not {values['momentum']:g}")
    milestones = tuple(values["milestones"])
    if any(isinstance(m, bool) or not isinstance(m, int) or m < 1 for m in milestones):
        raise UsageError(f"milestones must be epochs from 1 on, not {', '.join(map(str, milestones))}")
    if values["schedule"] == "cosine":
        for name in ("milestones", "gamma"):
            if options.get(name) not in (None, (), [], 1.0):
                raise UsageError(f"the schedule cosine has no {name}", f"--schedule steps has, or leave --{name} out")
        milestones = ()
    return {
        "momentum": values["momentum"] if values["optimizer"] == "sgd" else 0.0,
        "milestones": milestones,
        "gamma": values["gamma"] if milestones else 1.0,
    }


def _resolve(options: Settings, data: DataSpec, description: str | None) -> tuple[RunSpec, dict[str, Any]]:
    arch, dataset = str(options.get("arch", "mlp")), data.name
    recipe = _recipe(arch, dataset, description, options)
    values = {**recipe, **options, "arch": arch, "dataset": dataset}
    values["symmetry"] = symmetry_name(values.get("symmetry", "standard"))
    values["init"] = values["symmetry"]
    for name in ("kappa", "num_fixed"):
        if isinstance(values[name], str):  # in a configuration file, as the option takes it
            values[name] = parse_by_layer(values[name], name.replace("_", "-"))
    if callable(values["warmup"]):
        values["warmup"] = values["warmup"](values["epochs"])
    values = _numbers(values)
    values |= _optimizer(values, options)
    values |= data.flat()
    network, graph = _network(values, data, description)
    values["graph"] = network.graph
    if graph.statistics and values["batch_size"] == 1 and measures_of(data).links is None:
        raise UsageError("a batch of one sample has no statistics for batch norms", "--batch-size 2 has")
    takes = SYMMETRIES[values["symmetry"]].settings
    for name in ("kappa", "num_fixed"):
        if name not in takes and options.get(name) is not None:
            raise UsageError(f"the symmetry type {values['symmetry']} has no {name.replace('_', '-')}", "leave it out")
    if graph.gated and values["activation"] != GENERAL[arch]["activation"]:
        raise UsageError(
            f"{values['symmetry']} networks have gates in the place of activations", "leave --activation out"
        )
    values["kappa"] = _kappas(values["kappa"], graph, recipe) if "kappa" in takes else None
    values["num_fixed"] = _num_fixed(values["num_fixed"], graph, recipe) if "num_fixed" in takes else None
    call = {name: values.pop(name) for name in CALL_SETTINGS}
    for name, least in (("seeds", 1), ("save_every", 1)):
        if call[name] < least:
            raise UsageError(f"{name.replace('_', '-')} must be at least {least}, not {call[name]}")
    return RunSpec.from_dict(values), call


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers in the types that the canonical form has: 1 and 1.0 must not hash apart, 1.5 epochs must not pass.

    Raises:
        UsageError: a setting of the wrong kind.
    """
    typed = dict(values)
    for name in (*WHOLE, *REAL):
        value = values[name]
        if value is None and name in OPTIONAL:
            continue
        kind = "a whole number" if name in WHOLE else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float) or (name in WHOLE and value != int(value)):
            raise UsageError(f"{name.replace('_', '-')} must be {kind}, not {value!r}")
        typed[name] = int(value) if name in WHOLE else float(value) + 0.0  # -0.0 becomes 0.0
        if name in WHOLE and abs(typed[name]) >= 2**63:
            raise UsageError(f"{name.replace('_', '-')} must be smaller than 2^63, not {value}")
    return typed


def _names(graph: Graph) -> list[tuple[str, str]]:
    """What each weighted layer may be called: as records call it, and by its call."""
    return [(str(layer.label), layer.name) for layer in graph.weighted]


def _kappas(value: Any, graph: Graph, recipe: Settings) -> tuple[float, ...]:
    """One kappa for each weighted layer."""
    return Kappa.of(by_layer(value, _names(graph), "kappa", lambda: [recipe["kappa"]] * len(graph.weighted))).layers


def _num_fixed(value: Any, graph: Graph, recipe: Settings) -> tuple[int, ...]:
    """Fixed weights of each neuron, for each weighted layer: what was given, or the recipe's rule for this network."""
    rule = recipe["num_fixed"]
    numbers = rule(graph) if callable(value) else by_layer(value, _names(graph), "num-fixed", lambda: rule(graph))
    counts = []
    for op, number in zip(graph.weighted, numbers, strict=True):
        if not math.isfinite(number) or number < 0 or (number >= 1 and number != int(number)):
            raise UsageError(f"num-fixed takes whole counts, or shares below 1, not {number:g}")
        count = round(number * op.fan_in) if number < 1 else int(number)
        if count >= op.fan_in:
            raise UsageError(
                f"num-fixed {count} must be smaller than the {op.fan_in} inputs of layer {op.name}",
                "give one count for each layer, or shares below 1",
            )
        counts.append(count)
    return tuple(counts)
