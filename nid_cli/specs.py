"""What a run is: one frozen, validated value with a canonical JSON form and a stable hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from nid_cli.errors import UsageError, unknown

# The symmetry types, in the order of the reference code's numbers 0..3, and the settings that each takes.
SYMMETRIES: dict[str, tuple[str, ...]] = {
    "standard": (),
    "w": ("kappa", "num_fixed"),
    "sigma": (),
    "syre": ("kappa",),
}
NORMS = ("layer", "batch", "group", "none")
ACTIVATIONS = ("gelu", "relu", "identity")
OPTIMIZERS = ("adamw", "adam", "sgd")

Kappa = float | list[float] | None


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stable_hash(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of ``value``; the same on every machine and Python."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def derive_seed(base: int, *path: str | int) -> int:
    """A 63-bit seed for one purpose (``"mask"``, ``"init", 3``, ...), drawn deterministically from ``base``."""
    digest = hashlib.sha256(canonical_json([base, *path]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """Everything that determines a training, member seeds aside: those are derived from ``seed``.

    ``kappa`` and ``num_fixed`` hold one value per weighted layer, in the network's order (None where the symmetry
    type has none). ``init`` is the symmetry type whose initialization the training starts from: its own, except for
    imported standard networks that only started as asymmetric ones. ``width`` and ``depth`` are the architecture's
    own (mlp: hidden units, linear layers; resnet: w, layers). The learning rate is multiplied by ``gamma`` at each
    epoch in ``milestones``. ``seed`` is None for imported runs.

    Raises:
        UsageError: a value that no run can have.
    """

    arch: str
    width: int
    depth: int
    norm: str
    activation: str
    dataset: str
    data: Mapping[str, int | float]
    symmetry: str
    init: str
    kappa: tuple[float, ...] | None
    num_fixed: tuple[int, ...] | None
    optimizer: str
    lr: float
    weight_decay: float
    momentum: float
    milestones: tuple[int, ...]
    gamma: float
    epochs: int
    batch_size: int
    seed: int | None

    def __post_init__(self) -> None:
        for name, choices in (
            ("symmetry", tuple(SYMMETRIES)),
            ("init", tuple(SYMMETRIES)),
            ("norm", NORMS),
            ("activation", ACTIVATIONS),
            ("optimizer", OPTIMIZERS),
        ):
            if getattr(self, name) not in choices:
                raise unknown(name, getattr(self, name), choices)
        for name, least in (("width", 1), ("depth", 1), ("batch_size", 1), ("epochs", 0), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name.replace('_', '-')} must be at least {least}, not {value}")
        numbers = {"kappa": self.kappa or (), "momentum": (self.momentum,), "weight-decay": (self.weight_decay,)}
        for name, values in numbers.items():
            if any(not math.isfinite(v) or v < 0 for v in values):
                raise UsageError(f"{name} must be a number that is not negative, not {', '.join(map(str, values))}")
        for name, value in (("lr", self.lr), ("gamma", self.gamma)):
            if not math.isfinite(value) or value <= 0:
                raise UsageError(f"{name} must be a number above 0, not {value}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunSpec:
        """The specification that :meth:`to_dict` wrote (lists become tuples again)."""
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able values."""
        plain = asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    def settings(self) -> dict[str, Any]:
        """What all members of a group share: everything but the seed."""
        return {k: v for k, v in self.to_dict().items() if k != "seed"}

    @property
    def hash(self) -> str:
        """Identity of the run: the same specification is trained once."""
        return stable_hash(self.to_dict())


FIELDS = tuple(f.name for f in fields(RunSpec))


def short_kappa(kappa: list[float] | tuple[float, ...] | None) -> Kappa:
    """Per-layer kappa as records show it: one number where all layers agree, else the list; None stays None."""
    if kappa is None:
        return None
    return kappa[0] if len(set(kappa)) == 1 else list(kappa)
