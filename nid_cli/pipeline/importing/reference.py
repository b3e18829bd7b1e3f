"""The reference code's run directories (Vuenc/neuron-identifiability): their configuration and their checkpoints.

Configuration becomes a specification without torch; a checkpoint becomes effective weights and fixed tensors. Whatever
does not fit is refused with one sentence.
"""

from __future__ import annotations

import io
import math
import pickle
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from nid_cli.data.catalog import entry, resolve_parameters
from nid_cli.errors import NidError, NotFoundError
from nid_cli.graphs import graph_of
from nid_cli.nets import Graph
from nid_cli.specs import (
    ACTIVATIONS,
    NORMS,
    SYMMETRIES,
    DataSpec,
    NetworkSpec,
    OptimizerSpec,
    RunSpec,
    SymmetrySpec,
    symmetry_name,
)

if TYPE_CHECKING:
    from nid_cli.nets.functional import State

CONFIG = "config.yaml"
CHECKPOINT = re.compile(r"checkpoint_epoch_(\d{1,9})_model_(\d{1,9})\.pt")
LARGEST_CONFIG = 100_000
DATASETS = ("mnist", "cifar10", "cifar100")
# The reference code's names of tensors, of an mlp and of a resnet, with ours.
RENAMED = tuple(
    (re.compile(theirs), ours)
    for theirs, ours in (
        (r"^lins\.(\d+)\.", r"linear.\1."),
        (r"^norms\.(\d+)\.", r"norm.\1."),
        (r"^activations\.(\d+)\.C$", r"activation.\1.gate"),
        (r"^conv1\.", "stem.conv."),
        (r"^ln1\.", "stem.norm."),
        (r"^layer(\d+)\.", r"stage\1."),
        (r"^(stage\d+\.\d+)\.ln", r"\1.norm"),
        (r"^(stage\d+\.\d+\.shortcut)\.0\.", r"\1.conv."),
        (r"^(stage\d+\.\d+\.shortcut)\.1\.", r"\1.norm."),
    )
)
SEEDS = ("seed", "init_seed", "mask_seed", "optimization_seed")


class Refused(NidError):
    """A directory that cannot be imported, and why."""


@dataclass(frozen=True)
class Directory:
    """One run directory: its files by (model index, epoch) and its configuration as a specification.

    ``spec`` has the fixed weights that the configuration promises; the masks themselves decide (``read_checkpoint``).
    """

    path: Path
    config: dict[str, Any]
    spec: RunSpec
    files: dict[tuple[int, int], Path]

    @property
    def first_file(self) -> Path:
        """The first model's first checkpoint."""
        return self.files[min(self.files)]

    @property
    def seeds(self) -> dict[str, int | None]:
        """The seeds that the source stored; None where it never did."""
        return {name: self.config.get(name) for name in SEEDS}


def is_run(path: Path) -> bool:
    """Whether a folder looks like a run directory: it has checkpoints, or a configuration."""
    return (path / CONFIG).is_file() or any(CHECKPOINT.fullmatch(p.name) for p in path.iterdir() if p.suffix == ".pt")


def open_directory(path: Path) -> Directory:
    """Reads a directory's configuration and finds its checkpoints.

    Raises:
        NotFoundError: the configuration or the checkpoints are missing. Refused: it cannot be imported.
    """
    if not (path / CONFIG).is_file():
        raise NotFoundError(f"{path} has no {CONFIG}: it is not a run directory of the reference code")
    try:
        text = (path / CONFIG).read_text()
    except OSError as error:
        raise Refused(f"{path / CONFIG} cannot be read: {error.strerror}", "check permissions") from None
    except UnicodeDecodeError:
        raise Refused(f"{path / CONFIG} is not text") from None
    try:
        size = _size(yaml.compose(text, Loader=yaml.SafeLoader), {})
        config = yaml.safe_load(text) if size <= LARGEST_CONFIG else None
    except (yaml.YAMLError, RecursionError) as error:
        raise Refused(f"{path / CONFIG} is not plain YAML: {_first_line(error)}") from None
    if size > LARGEST_CONFIG:
        raise Refused(f"{path / CONFIG} is not plain YAML: its aliases make {size:.1e} values of it")
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise Refused(f"{path / CONFIG} holds no model")
    files: dict[tuple[int, int], Path] = {}
    for file in sorted(path.iterdir()):
        if (match := CHECKPOINT.fullmatch(file.name)) and file.is_file():
            key = int(match[2]), int(match[1])
            if key in files:
                raise Refused(f"{path} has two checkpoints of one model and epoch: {files[key].name}, {file.name}")
            files[key] = file
    if not files:
        raise NotFoundError(f"{path} has no checkpoints (checkpoint_epoch_E_model_M.pt)")
    try:
        spec = _specification(config)
    except Refused as error:
        raise Refused(f"{path}: {error.message}", error.hint) from None
    except NidError as error:
        raise Refused(f"{path / CONFIG}: {error.message}", error.hint) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"{path / CONFIG} lacks a setting, or it has the wrong type: {_first_line(error)}") from None
    return Directory(path, config, spec, files)


def _size(node: yaml.Node | None, known: dict[yaml.Node, int]) -> int:
    """How many values there are, written out; ``known`` holds what was counted before, since aliases share nodes."""
    if node is None:
        return 0
    if node not in known:
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        pairs = isinstance(node, yaml.MappingNode)
        below = (part for pair in children for part in pair) if pairs else children
        known[node] = 1 + sum(_size(child, known) for child in below)
    return known[node]


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _specification(config: Mapping[str, Any]) -> RunSpec:
    model, data = config["model"], config["dataset"]
    if model["name"] not in ARCHITECTURES:
        raise Refused(f"the architecture {model['name']!r} cannot be imported", f"{', '.join(ARCHITECTURES)} can")
    if data["name"] not in DATASETS:
        raise Refused(f"the data set {data['name']!r} cannot be imported", f"{', '.join(DATASETS)} can")
    symmetry = symmetry_name(model["symmetry"])
    init_only = bool(model.get("asym_init_only", False))
    share = float(data.get("val_split", 0.1))
    optimizer, milestones, gamma = config["optimizer"], *_schedule(config.get("scheduler") or {})
    spec = RunSpec(
        network=ARCHITECTURES[model["name"]](model, symmetry, data["name"]),
        data=DataSpec(
            name=data["name"],
            parameters=resolve_parameters(data["name"], {} if share == 0.1 else {"val_share": share}),
        ),
        symmetry=SymmetrySpec(name="standard" if init_only else symmetry, init=symmetry, kappa=None, num_fixed=None),
        optimizer=OptimizerSpec(
            name=str(optimizer["name"]).lower(),
            lr=float(optimizer["lr"]),
            weight_decay=float(optimizer.get("weight_decay") or 0.0),
            momentum=float(optimizer.get("momentum") or 0.0),
            milestones=milestones,
            gamma=gamma,
        ),
        epochs=int(config["training"]["num_epochs"]),
        batch_size=int(data["batch_size"]),
        seed=None,
    )
    if "kappa" not in SYMMETRIES[spec.symmetry.name].settings:
        return spec
    masks = model.get("mask_params") or {}
    own = (masks.get("default", {}) | _settings_of(op.name, masks) for op in graph_of(spec).weighted)
    kappa = tuple(float(layer.get("mask_constant", 1.0)) for layer in own)
    return replace(spec, symmetry=replace(spec.symmetry, kappa=kappa))


def _settings_of(layer: str, masks: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of ``mask_params`` that speaks of one of our layers."""
    if mlp := re.fullmatch(r"linear\.(\d+)", layer):
        return masks.get(f"linear_mask_params_{mlp[1]}", {})
    if block := re.fullmatch(r"stage(\d)\.\d+\.(conv|shortcut).*", layer):
        kind = "skip" if block[2] == "shortcut" else "conv"
        return masks.get(f"conv_{block[1]}", {}).get(kind, {})
    return masks.get({"stem.conv": "conv_f"}.get(layer, layer), {})


def _mlp(model: Mapping[str, Any], symmetry: str, dataset: str) -> NetworkSpec:
    norm = model.get("norm") or "none"
    if norm not in NORMS or norm == "group":
        raise Refused(f"the norm {norm!r} cannot be imported", "layer, batch and null can")
    if norm != "none" and symmetry != "sigma" and not model.get("elementwise_affine", True):
        raise Refused("norms without weights (elementwise_affine: false) cannot be imported")
    known = entry(dataset)
    for key, expected in (("input_dim", math.prod(known.shape({}))), ("output_dim", known.outputs({}))):
        if int(model[key]) != expected:
            raise Refused(f"{key} is {model[key]}, but {dataset} has {expected}")
    return NetworkSpec(
        arch="mlp",
        width=int(model["hidden_dim"]),
        depth=int(model["num_layers"]),
        norm=norm,
        activation=_activation(model, symmetry),
    )


def _resnet(model: Mapping[str, Any], symmetry: str, dataset: str) -> NetworkSpec:
    norms = {None: "group", "layer": "group", "batch": "batch"}
    if model.get("norm") not in norms:
        raise Refused(f"the norm {model['norm']!r} of a resnet cannot be imported", "layer, batch and null can")
    if int(model["num_classes"]) != (outputs := entry(dataset).outputs({})):
        raise Refused(f"num_classes is {model['num_classes']}, but {dataset} has {outputs}")
    norm = norms[model.get("norm")]
    return NetworkSpec(arch="resnet", width=int(model["w"]), depth=int(model["depth"]), norm=norm, activation="relu")


ARCHITECTURES = {"mlp_mnist": _mlp, "resnet_cifar": _resnet}


def _activation(model: Mapping[str, Any], symmetry: str) -> str:
    # Their default depends on the type; sigma networks have their gates instead.
    activation = model.get("activation") or ("relu" if symmetry == "standard" else "gelu")
    if activation not in ACTIVATIONS:
        raise Refused(f"the activation {activation!r} cannot be imported", f"{', '.join(ACTIVATIONS)} can")
    return str(activation)


def _schedule(scheduler: Mapping[str, Any]) -> tuple[tuple[int, ...], float]:
    name = scheduler.get("name") or "none"
    if name == "none":
        return (), 1.0
    if "milestones" not in scheduler or "gamma" not in scheduler:
        raise Refused(f"the scheduler {name!r} cannot be imported", "none and those with milestones and gamma can")
    return tuple(int(m) for m in scheduler["milestones"]), float(scheduler["gamma"])


def read_checkpoint(content: bytes, file: Path, spec: RunSpec) -> tuple[State, State]:
    """(effective weights and buffers, fixed tensors) of one checkpoint, by our names.

    Raises:
        Refused: it is damaged, needs more than ``weights_only=True``, or contradicts the configuration.
    """
    state = _load(content, file)
    graph = graph_of(spec)
    fixed = _fixed(graph, spec, state, file)
    expected = graph.parameters | graph.buffers
    plain = {}
    for name, shape in expected.items():
        if name not in state or tuple(state[name].shape) != shape:
            found = f"has {tuple(state[name].shape)}" if name in state else "is missing"
            raise Refused(f"{file} contradicts its {CONFIG}: {name} should be {shape} and {found}")
        plain[name] = state[name].float()
    used = (
        expected.keys()
        | {f"{n.rpartition('.')[0]}.num_batches_tracked" for n in graph.buffers}
        | _raw_names(graph, spec)
    )
    if surplus := sorted(state.keys() - used):
        raise Refused(f"{file} contradicts its {CONFIG}: nothing there speaks of {surplus[0]}")
    return _effective(graph, spec, plain, fixed), fixed


def _load(content: bytes, file: Path) -> State:
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise Refused(
            f"{file} holds more than tensors (or is damaged): it is not loaded, since it could run code"
        ) from None
    except Exception as error:  # torch's reader may raise anything
        raise Refused(f"{file} is truncated or damaged: {_first_line(error)}") from None
    state = loaded.get("model_state_dict") if isinstance(loaded, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise Refused(f"{file} is no checkpoint of the reference code: it has no model_state_dict")
    renamed = {}
    for name, tensor in state.items():
        for pattern, ours in RENAMED:
            name = pattern.sub(ours, str(name))
        renamed[name] = tensor
    return renamed


def _raw_names(graph: Graph, spec: RunSpec) -> set[str]:
    """Their fixed tensors, as they are called in a checkpoint."""
    if graph.gated:
        return {gate.tensor for gate in graph.gates}
    suffixes = {"w": ("mask", "normal_mask"), "syre": ("noise",)}.get(spec.symmetry.name, ())
    return {f"{op.name}.{suffix}" for op in graph.weighted for suffix in suffixes}


def _fixed(graph: Graph, spec: RunSpec, state: State, file: Path) -> State:
    """The fixed tensors in our form: masks as bool, F only where it is used, gates and noise as they are."""
    import torch

    raw = {}
    gates = {gate.tensor: (gate.channels, gate.channels) for gate in graph.gates}
    for name in sorted(_raw_names(graph, spec)):
        if name not in state:
            raise Refused(f"{file} contradicts its {CONFIG}: {name} is missing")
        prefix = name.rpartition(".")[0]
        shape = gates.get(name) or graph.parameters[f"{prefix}.weight"]
        if tuple(state[name].shape) != tuple(shape):
            raise Refused(f"{file} contradicts its {CONFIG}: {name} should be {shape}, is {tuple(state[name].shape)}")
        raw[name] = state[name].float().flatten(1)
    if spec.symmetry.name != "w":
        return raw
    fixed = {}
    for op in graph.weighted:
        mask = raw[f"{op.name}.mask"]
        if not bool(((mask == 0) | (mask == 1)).all()):
            raise Refused(f"{file}: the mask of {op.name} holds more than zeros and ones")
        fixed[f"{op.name}.mask"] = mask == 1
        fixed[f"{op.name}.fixed"] = torch.where(mask == 1, 0.0, raw[f"{op.name}.normal_mask"])
    return fixed


def num_fixed(graph: Graph, fixed: State, file: Path) -> tuple[int, ...]:
    """Fixed weights of each neuron, layer by layer, counted in the masks.

    Raises:
        Refused: the rows of a mask differ in it.
    """
    counts = []
    for op in graph.weighted:
        rows = (~fixed[f"{op.name}.mask"]).sum(1)
        if int(rows.min()) != int(rows.max()):
            raise Refused(f"{file}: neurons of {op.name} have different numbers of fixed weights")
        counts.append(int(rows[0]))
    return tuple(counts)


def _effective(graph: Graph, spec: RunSpec, plain: State, fixed: State) -> State:
    """Effective weights, each layer with its own kappa (docs/science.md, 1)."""
    from nid_cli.nets.symmetry import fixed_of, rule_of

    rule = rule_of(spec.symmetry.name)
    kappas = spec.symmetry.kappa or (0.0,) * len(graph.weighted)
    weights = {
        f"{op.name}.weight": rule.effective(plain[f"{op.name}.weight"].flatten(1), fixed_of(fixed, op), kappa).view_as(
            plain[f"{op.name}.weight"]
        )
        for op, kappa in zip(graph.weighted, kappas, strict=True)
    }
    return plain | weights
