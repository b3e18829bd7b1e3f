"""Linear mode connectivity of a pair (docs/science.md, 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nid_cli.records.base import PAIR, Record, column, nested


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Loss and accuracy of one split along the segment, and every barrier of the literature by its own name."""

    loss: list[float] = column("Mean loss at each lambda", "nats")
    accuracy: list[float] = column("Accuracy at each lambda", "%")
    loss_barrier: float = column(
        "Greatest rise of the loss above the chord between the ends (Entezari et al. 2022)",
        "nats",
        title="loss barrier",
    )
    loss_barrier_max: float = column("Greatest rise of the loss above the worse end", "nats")
    loss_barrier_mid: float = column("Loss at 1/2 minus the mean of the ends (Frankle et al. 2020)", "nats")
    error_barrier: float = column(
        "Greatest rise of the error (100 - accuracy) above the chord between the ends", "pp", title="error barrier"
    )
    error_barrier_max: float = column("Greatest rise of the error above the worse end", "pp")
    error_barrier_mid: float = column("Error at 1/2 minus the mean of the ends", "pp")
    relative_accuracy_drop: float = column("Least accuracy minus that of the better end, relative to the latter", "%")
    accuracy_mid: float = column("Accuracy at lambda 1/2", "%", title="accuracy at 1/2")
    greatest_rise: float | None = column(
        "Of two epochs of one model: greatest rise of the loss on the way from the earlier to the later, 0 where it "
        "never rises (Goodfellow et al. 2015)",
        "nats",
        title="greatest rise",
        default=None,
    )


@dataclass(frozen=True, kw_only=True)
class Lmc(Record):
    """One pair of models, or of epochs of one model, under one alignment; None throughout where the alignment does not
    apply."""

    schema = "nid.lmc/1"
    about = PAIR

    epoch_a: int | None = column(
        "Of two epochs of one model the earlier, where lambda is 0; `epoch` is the later", default=None
    )
    align: str = column("How the second model was aligned with the first, by its name in `--align`")
    bn_reset: bool = column("Whether batch-norm statistics were estimated anew after interpolation")
    repair: str | None = column(
        "How the interpolated networks were repaired, by its name in `--repair`; None where they were not", default=None
    )
    not_repaired: list[str] | None = column(
        "Layers before norms or activations that repair left as they are: their weight is no stored matrix of theirs "
        "alone",
        default=None,
    )
    not_shifted: list[str] | None = column(
        "Layers of which repair corrected the standard deviations and not the means: they can have no bias of their "
        "own",
        default=None,
    )
    status: str = column("ok, or not_applicable")
    reason: str | None = column("Why the alignment does not apply", default=None)
    lambdas: list[float] | None = column(
        "Points on the segment from the first model (0) to the second (1)", default=None
    )
    train: Curve | None = nested(Curve, prefix="train_", words="train", title="train {}", default=None)
    val: Curve | None = nested(Curve, prefix="val_", words="validation", title="validation {}", default=None)
    test: Curve | None = nested(Curve, prefix="test_", words="test", title="test {}", default=None)
    distance: float | None = column("L2 distance of the trained effective parameters", default=None)
    normalized_distance: float | None = column("The distance over the root of their number", default=None)
    permutation: Mapping[str, Any] | None = column(
        "The alignment: for each hidden layer the neuron of the second model that takes each place",
        kind="dict[str, list[int]] | None",
        large=True,
        default=None,
    )
