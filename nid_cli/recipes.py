"""Defaults per (architecture, data set), and how options become one resolved specification. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from nid_cli.data.catalog import CATALOG, resolve_parameters
from nid_cli.errors import UsageError, unknown
from nid_cli.graphs import network_of
from nid_cli.nets import ARCHITECTURES, Graph
from nid_cli.specs import FIELDS, SYMMETRIES, DataSpec, Kappa, NetworkSpec, RunSpec, symmetry_name

Settings = Mapping[str, Any]


def _shares(first: float, hidden: float, last: float) -> Callable[[Graph], list[float]]:
    """num_fixed of an mlp as shares of the fan-in: its first, hidden and last layers."""
    return lambda graph: [first, *[hidden] * (len(graph.weighted) - 2), last]


# num_fixed of a resnet's layers before the factor n_mul (docs/science.md, 2).
_RESNET_FIXED = {
    "stem.conv": 4,
    "stage1.*.conv?": 36,
    "stage2.*.conv?": 54,
    "stage3.*.conv?": 72,
    "stage2.*.shortcut.conv": 6,
    "stage3.*.shortcut.conv": 8,
    "linear": 8,
}
# Wide networks (w = 8) fix three times as many, small ones as many as the table says.
_WIDE = 8 * 16


def _resnet_fixed(graph: Graph) -> list[float]:
    """num_fixed of a resnet by layer, and never more than half of a neuron's weights (a stem of one input channel)."""
    factor = 3.0 if graph.weighted[0].channels >= _WIDE else 1.0
    counts = (next(n for p, n in _RESNET_FIXED.items() if fnmatchcase(op.name, p)) for op in graph.weighted)
    return [min(factor * count, op.fan_in // 2) for op, count in zip(graph.weighted, counts, strict=True)]


# The paper's MLP, to the letter on MNIST (docs/science.md, 2): num_fixed 64, 64, 64, 256 of 784, 512, 512, 512.
_MLP: dict[str, Any] = {
    "width": 512,
    "depth": 4,
    "norm": "layer",
    "activation": "gelu",
    "kappa": 1.0,
    "num_fixed": _shares(1 / 8, 1 / 8, 1 / 2),
    "optimizer": "adamw",
    "lr": 1e-3,
    "weight_decay": 0.01,
    "momentum": 0.0,
    "milestones": (),
    "gamma": 1.0,
    "epochs": 100,
    "batch_size": 64,
    "seed": 0,
    "seeds": 2,
    "save_every": 5,
}

# The paper's ResNet on CIFAR (docs/science.md, 2): the learning rate rises from 1e-4 to 1e-2 in 20 epochs.
_RESNET: dict[str, Any] = _MLP | {
    "width": 8,
    "depth": 20,
    "norm": "group",
    "activation": "relu",
    "kappa": 2.0,
    "num_fixed": _resnet_fixed,
    "lr": 1e-4,
    "milestones": tuple(range(1, 21)),
    "gamma": 1.259,
    "batch_size": 128,
}
# For a laptop: one block in each stage, the same rise in ten steps.
_SMALL_RESNET: dict[str, Any] = {
    "width": 1,
    "depth": 8,
    "lr": 1e-3,
    "milestones": tuple(range(1, 11)),
    "batch_size": 64,
}

_GENERAL: dict[str, Settings] = {"mlp": _MLP, "resnet": _RESNET}

RECIPES: dict[tuple[str, str], Settings] = {
    ("mlp", "mnist"): {"num_fixed": _shares(64 / 784, 1 / 8, 1 / 2)},
    ("mlp", "mnist-coherence"): {"num_fixed": _shares(64 / 784, 1 / 8, 1 / 2)},
    ("mlp", "digits"): {"width": 128, "epochs": 30},
    ("resnet", "digits"): _SMALL_RESNET | {"epochs": 30},
    ("resnet", "mnist"): _SMALL_RESNET | {"epochs": 15},
    ("resnet", "fashion-mnist"): _SMALL_RESNET | {"epochs": 15},
    ("resnet", "image-folder"): _SMALL_RESNET | {"epochs": 30},
}

# Settings of a command that are no part of what a run is.
CALL_SETTINGS = ("seeds", "save_every")
# ``init`` follows from the symmetry type.
# So do the facts of a file of data, and of networks that were taken in.
FACTS = ("init", "graph", "content", "input_shape", "outputs", "targets", "vocabulary")
KNOWN = (*(name for name in FIELDS if name not in FACTS), *CALL_SETTINGS)


def resolve(options: Settings, file: DataSpec | None = None) -> tuple[RunSpec, dict[str, Any]]:
    """The full specification for what was given, and the settings of the call (seeds, save_every).

    Args:
        options: any of ``KNOWN``; what is missing comes from the recipe of (arch, dataset).
        file: the data set, where it is a file of tensors (``data.file``).

    Raises:
        UsageError: an unknown name or a value that cannot be.
    """
    for name in options:
        if name not in KNOWN:
            raise unknown("setting", name, KNOWN)
    try:
        return _resolve(options, file)
    except (TypeError, ValueError, OverflowError) as error:  # a configuration file may hold anything
        raise UsageError(f"a setting has the wrong type: {error}") from None


def _resolve(options: Settings, file: DataSpec | None) -> tuple[RunSpec, dict[str, Any]]:
    arch, dataset = str(options.get("arch", "mlp")), file.name if file else str(options.get("dataset", "digits"))
    if arch not in ARCHITECTURES:
        raise unknown("architecture", arch, ARCHITECTURES)
    if file is None and dataset not in CATALOG:
        raise unknown("data set", dataset, CATALOG)
    values = {**_GENERAL[arch], **RECIPES.get((arch, dataset), {}), **options, "arch": arch, "dataset": dataset}
    values["symmetry"] = symmetry_name(values.get("symmetry", "standard"))
    values["init"] = values["symmetry"]
    values = _numbers(values)
    if values["momentum"] >= 1:
        raise UsageError(f"momentum must lie below 1, not {values['momentum']:g}")
    if values["norm"] == "batch" and values["batch_size"] == 1:
        raise UsageError("a batch of one sample has no statistics for batch norms", "--batch-size 2 has")
    if values["optimizer"] != "sgd":
        values["momentum"] = 0.0
    if not values["milestones"]:
        values["gamma"] = 1.0
    data = file or DataSpec(name=dataset, parameters=resolve_parameters(dataset, values.get("data", {})))
    values |= data.flat()
    network = NetworkSpec(**{name: values[name] for name in ("arch", "width", "depth", "norm", "activation")})
    graph = network_of(network, data, values["symmetry"])
    takes = SYMMETRIES[values["symmetry"]].settings
    for name in ("kappa", "num_fixed"):
        if name not in takes and options.get(name) is not None:
            raise UsageError(f"the symmetry type {values['symmetry']} has no {name.replace('_', '-')}", "leave it out")
    if graph.gated and values["activation"] != _GENERAL[arch]["activation"]:
        raise UsageError(
            f"{values['symmetry']} networks have gates in the place of activations", "leave --activation out"
        )
    values["kappa"] = _kappas(values["kappa"], graph) if "kappa" in takes else None
    values["num_fixed"] = _num_fixed(values["num_fixed"], graph) if "num_fixed" in takes else None
    values["milestones"] = tuple(values["milestones"])
    if any(isinstance(m, bool) or not isinstance(m, int) or m < 1 for m in values["milestones"]):
        raise UsageError(f"milestones must be epochs from 1 on, not {', '.join(map(str, values['milestones']))}")
    call = {name: values.pop(name) for name in CALL_SETTINGS}
    for name, least in (("seeds", 1), ("save_every", 1)):
        if call[name] < least:
            raise UsageError(f"{name.replace('_', '-')} must be at least {least}, not {call[name]}")
    return RunSpec.from_dict(values), call


WHOLE = ("width", "depth", "epochs", "batch_size", "seed", *CALL_SETTINGS)
REAL = ("lr", "weight_decay", "momentum", "gamma")


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers in the types that the canonical form has: 1 and 1.0 must not hash apart, 1.5 epochs must not pass.

    Raises:
        UsageError: a setting of the wrong kind.
    """
    typed = dict(values)
    for name in (*WHOLE, *REAL):
        value = values[name]
        kind = "a whole number" if name in WHOLE else "a number"
        if isinstance(value, bool) or not isinstance(value, int | float) or (name in WHOLE and value != int(value)):
            raise UsageError(f"{name.replace('_', '-')} must be {kind}, not {value!r}")
        typed[name] = int(value) if name in WHOLE else float(value) + 0.0  # -0.0 becomes 0.0
        if name in WHOLE and abs(typed[name]) >= 2**63:
            raise UsageError(f"{name.replace('_', '-')} must be smaller than 2^63, not {value}")
    return typed


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def _kappas(value: Any, graph: Graph) -> tuple[float, ...]:
    """One kappa for each weighted layer."""
    numbers, layers = Kappa.of(value).layers, len(graph.weighted)
    if len(numbers) not in (1, layers):
        raise UsageError(f"kappa takes one number or one for each of the {layers} layers, not {len(numbers)}")
    return numbers * layers if len(numbers) == 1 else numbers


def _num_fixed(value: Any, graph: Graph) -> tuple[int, ...]:
    """Fixed weights of each neuron, for each weighted layer: what was given, or the recipe's rule for this network."""
    numbers = [float(v) for v in (value(graph) if callable(value) else _sequence(value))]
    layers = graph.weighted
    if len(numbers) == 1:
        numbers *= len(layers)
    if len(numbers) != len(layers):
        raise UsageError(f"num-fixed takes one number or one for each of the {len(layers)} layers, not {len(numbers)}")
    counts = []
    for op, number in zip(layers, numbers, strict=True):
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
