"""What a run is: one frozen, validated value with a canonical JSON form and a stable hash."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from nid_cli.errors import RegistryError, UsageError, unknown
from nid_cli.specs.canonical import Canonical, at_rest, called, later, name_of, stable_hash
from nid_cli.specs.kappa import Kappa
from nid_cli.specs.symmetries import SYMMETRIES

NORMS = ("layer", "batch", "group", "none")
ACTIVATIONS = ("gelu", "relu", "identity")
OPTIMIZERS = ("adamw", "adam", "sgd")
SCHEDULES = ("steps", "cosine")
# Of networks that were trained elsewhere: how is not known.
EXTERNAL = "external"
HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class NetworkSpec(Canonical):
    """The architecture; ``width`` and ``depth`` are its own (mlp: hidden units, linear layers; resnet: w, layers).

    Transformers have ``heads`` to a layer; of vit ``patch`` is the side of a patch in pixels, of gpt ``tied`` says
    whether the output is the transposed embedding. Of a network that was taken in from torch, ``graph`` is the hash of
    its description, and all others are None.
    """

    arch: str
    width: int | None
    depth: int | None
    norm: str | None
    activation: str | None
    graph: str | None = later(None)
    heads: int | None = later(None)
    patch: int | None = later(None)
    tied: bool | None = later(None)


@dataclass(frozen=True, kw_only=True)
class DataSpec(Canonical):
    """A data set of the catalogue with all its parameters; or a file of tensors, by its ``content`` (SHA-256).

    Of a file: its name without the ending, the shape of one sample, the number of outputs that its targets need, what
    these are (``classes``, ``labels``, or ``positions``: a class for each), how many positions there are, and what
    whole numbers as inputs are below.
    """

    name: str = called("dataset")
    parameters: Mapping[str, int | float] = called("data")
    content: str | None = later(None)
    input_shape: tuple[int, ...] | None = later(None)
    outputs: int | None = later(None)
    targets: str | None = later(None)
    positions: int | None = later(None)
    vocabulary: int | None = later(None)


@dataclass(frozen=True, kw_only=True)
class SymmetrySpec(Canonical):
    """The symmetry type, with one ``kappa`` and ``num_fixed`` for each weighted layer (None where the type has none).

    ``init`` is the type whose initialization the training starts from: its own, except for imported standard networks
    that only started as asymmetric ones.
    """

    name: str = called("symmetry")
    init: str
    kappa: tuple[float, ...] | None
    num_fixed: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class OptimizerSpec(Canonical):
    """The optimizer; its learning rate is multiplied by ``gamma`` at each epoch in ``milestones``.

    Under the ``schedule`` ``cosine`` it falls from step to step to zero instead. In the first ``warmup`` epochs it
    rises from step to step. Gradients longer than ``clip`` (their norm over all parameters) are shortened to it.
    Of a training elsewhere (``EXTERNAL``) nothing is known.
    """

    name: str = called("optimizer")
    lr: float | None
    weight_decay: float | None
    momentum: float | None
    milestones: tuple[int, ...]
    gamma: float | None
    schedule: str = later("steps")
    warmup: float = later(0.0)
    clip: float | None = later(None)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that determines a training, member seeds aside: those are derived from ``seed``.

    A group that is spawned at ``spawn_epoch`` is one network until then, whose copies go on by orders of their own
    (Frankle et al. 2020).

    ``seed`` is None for imported runs, and where the specification is what the members of a group share; ``epochs`` and
    ``batch_size`` are None where networks were trained elsewhere.

    Raises:
        UsageError: a value that no run can have.
    """

    network: NetworkSpec
    data: DataSpec
    symmetry: SymmetrySpec
    optimizer: OptimizerSpec
    epochs: int | None
    batch_size: int | None
    seed: int | None
    spawn_epoch: int | None = later(None)

    def __post_init__(self) -> None:
        network, symmetry, optimizer = self.network, self.symmetry, self.optimizer
        for name, digest in (("graph", network.graph), ("content", self.data.content)):
            if digest is not None and not (isinstance(digest, str) and HASH.fullmatch(digest)):
                raise UsageError(f"{name} is no SHA-256: {str(digest)[:70]!r}")
        own = (network.width, network.depth, network.norm, network.activation)
        if network.graph is None and None in own:
            raise UsageError("a network without a description has width, depth, norm and activation")
        if optimizer.name != EXTERNAL and None in (self.epochs, self.batch_size, optimizer.lr, optimizer.gamma):
            raise UsageError(f"a training by {optimizer.name} has epochs, batch-size, lr and gamma")
        for name, chosen, choices in (
            ("symmetry", symmetry.name, tuple(SYMMETRIES)),
            ("init", symmetry.init, tuple(SYMMETRIES)),
            ("norm", network.norm, NORMS),
            ("activation", network.activation, ACTIVATIONS),
            ("optimizer", optimizer.name, (*OPTIMIZERS, EXTERNAL)),
            ("schedule", optimizer.schedule, SCHEDULES),
        ):
            if chosen is not None and chosen not in choices:
                raise unknown(name, chosen, choices)
        for name, count, least in (
            ("width", network.width, 1),
            ("depth", network.depth, 1),
            ("heads", network.heads, 1),
            ("patch", network.patch, 1),
            ("batch-size", self.batch_size, 1),
            ("epochs", self.epochs, 0),
            ("seed", self.seed, 0),
            ("spawn-epoch", self.spawn_epoch, 0),
        ):
            if count is not None and count < least:
                raise UsageError(f"{name} must be at least {least}, not {count}")
        if network.tied not in (None, True, False):
            raise UsageError(f"tied is true or false, not {network.tied!r}")
        Kappa.of(symmetry.kappa)
        if self.spawn_epoch is not None and self.spawn_epoch > (self.epochs or 0):
            raise UsageError(f"copies that part after epoch {self.spawn_epoch} need more than {self.epochs} epochs")
        for name, value in (
            ("momentum", optimizer.momentum),
            ("weight-decay", optimizer.weight_decay),
            ("warmup", optimizer.warmup),
        ):
            if value is not None and (not math.isfinite(value) or value < 0):
                raise UsageError(f"{name} must be a number that is not negative, not {value}")
        for name, value in (("lr", optimizer.lr), ("gamma", optimizer.gamma), ("clip", optimizer.clip)):
            if value is not None and (not math.isfinite(value) or value <= 0):
                raise UsageError(f"{name} must be a number above 0, not {value}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """The specification of flat ``values`` by their canonical names; absent later fields take their defaults.

        Raises:
            RegistryError: a field that this program does not know, or one that is missing.
        """
        if surplus := sorted(values.keys() - set(FIELDS)):
            raise RegistryError(f"a run has the setting {surplus[0]!r}, which this nid does not know", "upgrade nid")
        try:
            parts = {name: _part(kind, values) for name, kind in PARTS.items()}
        except KeyError as error:
            raise RegistryError(f"the settings of a run lack {error}") from None
        return cls(**parts, **{name: values[name] for name in OWN if name in values})

    def to_dict(self) -> dict[str, Any]:
        """All fields, flat, by their canonical names, as plain JSON-able values."""
        flat = {name: getattr(self, name) for name in OWN}
        for part in PARTS:
            flat |= getattr(self, part).flat()
        return dict(sorted(flat.items()))

    def canonical(self) -> dict[str, Any]:
        """What the hash covers: :meth:`to_dict` without later fields that have their defaults."""
        known = {name for part in PARTS for name in getattr(self, part).canonical()}
        known |= set(OWN) - at_rest(self)
        return {name: value for name, value in self.to_dict().items() if name in known}

    def settings(self) -> dict[str, Any]:
        """What all members of a group share, flat, as people see it: everything but the seed."""
        return {name: value for name, value in self.to_dict().items() if name != "seed"}

    def shared(self) -> dict[str, Any]:
        """The canonical form of what all members of a group share, as keys cover it."""
        return {name: value for name, value in self.canonical().items() if name != "seed"}

    @property
    def length(self) -> int:
        """The epochs of a training here."""
        assert self.epochs is not None
        return self.epochs

    @property
    def kappa(self) -> Kappa:
        """The kappa of all layers, as one value."""
        return Kappa.of(self.symmetry.kappa)

    @property
    def hash(self) -> str:
        """Identity of the run: the same specification is trained once."""
        return stable_hash(self.canonical())


def _part(kind: type, values: Mapping[str, Any]) -> Any:
    """One part of a specification from flat values (lists become tuples again)."""
    own = {}
    for declared in fields(kind):
        name = name_of(declared)
        if name in values or declared.default is MISSING:
            value = values[name]
            own[declared.name] = tuple(value) if isinstance(value, list) else value
    return kind(**own)


PARTS: dict[str, type] = {
    "network": NetworkSpec,
    "data": DataSpec,
    "symmetry": SymmetrySpec,
    "optimizer": OptimizerSpec,
}
OWN = tuple(kind.name for kind in fields(RunSpec) if kind.name not in PARTS)
# The flat names of all fields.
FIELDS = (*(name_of(kind) for part in PARTS.values() for kind in fields(part)), *OWN)
