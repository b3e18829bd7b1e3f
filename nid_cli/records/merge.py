"""Many models merged into one (docs/science.md, 14)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nid_cli.records.base import MANY, Record, column, nested


@dataclass(frozen=True, kw_only=True)
class MergeMetrics:
    """The merge on one split, beside its parts and their ensemble."""

    loss: float = column("Mean loss of the merge", "nats", title="loss")
    accuracy: float = column("Accuracy of the merge", "%", title="accuracy")
    parts_loss: float = column("Mean over the parts of their mean loss", "nats", title="loss of the parts")
    parts_accuracy: float = column("Mean over the parts of their accuracy", "%", title="accuracy of the parts")
    best_loss: float = column("Least mean loss of a part on this split", "nats", title="loss of the best part")
    best_accuracy: float = column("Greatest accuracy of a part on this split", "%", title="accuracy of the best part")
    ensemble_loss: float = column(
        "Mean loss of the mean of the parts' predictive distributions", "nats", title="loss of the ensemble"
    )
    ensemble_accuracy: float = column(
        "Accuracy of the mean of the parts' predictive distributions", "%", title="accuracy of the ensemble"
    )


@dataclass(frozen=True, kw_only=True)
class Merged(Record):
    """All chosen models of one group at one epoch in one: the mean of their effective weights, under one alignment;
    None throughout where the alignment does not apply."""

    schema = "nid.merge/1"
    about = MANY

    align: str = column("How the models were brought into one frame, by its name in `--align`")
    bn_reset: bool = column("Whether batch-norm statistics were estimated anew after the merge")
    repair: str | None = column(
        "How the merge was repaired, by its name in `--repair`; None where it was not", default=None
    )
    status: str = column("ok, or not_applicable")
    reason: str | None = column("Why the alignment does not apply", default=None)
    train: MergeMetrics | None = nested(MergeMetrics, prefix="train_", words="train", title="train {}", default=None)
    val: MergeMetrics | None = nested(
        MergeMetrics, prefix="val_", words="validation", title="validation {}", default=None
    )
    test: MergeMetrics | None = nested(MergeMetrics, prefix="test_", words="test", title="test {}", default=None)
    objective: float | None = column(
        "The common objective of all alignments: the sum over pairs of models of the inner product of their parameters",
        default=None,
    )
    pairwise_cycle_error: float | None = column(
        "Share of neurons that are elsewhere after a -> b -> c -> a, over all triples, where each pair is matched on "
        "its own; None for two models, and without alignment",
        default=None,
    )
    permutations: Mapping[str, Any] | None = column(
        "The alignment: for each hidden layer a row for each model, the neuron of it that takes each place",
        kind="dict[str, list[list[int]]] | None",
        large=True,
        default=None,
    )
