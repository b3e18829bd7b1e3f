"""Trained models, as ``nid train`` shows them."""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.records.base import GROUP, Column, Record, column, nested


@dataclass(frozen=True, kw_only=True)
class SplitMetrics:
    """Loss and accuracy on one split."""

    loss: float | None = column("Mean loss after the last epoch", "nats")
    accuracy: float | None = column("Accuracy after the last epoch", "%")


@dataclass(frozen=True, kw_only=True)
class TrainedModel(Record):
    """One model of the run that was asked for. Train metrics are running means over the last epoch's batches."""

    schema = "nid.train/1"
    about = (*GROUP, Column("model", "int", "The model's number in its group, from 1."))

    status: str = column("complete, training, interrupted or failed")
    trained_now: bool = column("Whether this command trained it")
    epochs: list[int] = column("The epochs that have checkpoints")
    seeds: dict[str, int | None] = column("The seeds of its initialization, sample order and fixed tensors")
    epoch: int | None = column("Its last epoch", default=None)
    train: SplitMetrics | None = nested(SplitMetrics, prefix="train_", words="train", default=None)
    val: SplitMetrics | None = nested(SplitMetrics, prefix="val_", words="validation", default=None)
    test: SplitMetrics | None = nested(SplitMetrics, prefix="test_", words="test", default=None)
