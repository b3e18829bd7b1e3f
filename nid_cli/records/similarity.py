"""How similar two models are: predictions, layers, and what training changed (docs/science.md, 12)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nid_cli.records.base import PAIR, Record, column, nested


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What two models predict on one split. Means over samples; of labels over labels, of positions over those that
    count."""

    agreement: float | None = column("Share of the samples for which both decide alike")
    jensen_shannon: float | None = column(
        "Mean Jensen-Shannon divergence of the predictive distributions", "nats", title="Jensen-Shannon divergence"
    )
    logit_cosine: float | None = column(
        "Mean cosine of the centred logits; without the samples of which a model has equal logits"
    )
    error_overlap: float | None = column(
        "Agreement among the samples that at least one gets wrong; None where neither does"
    )


@dataclass(frozen=True, kw_only=True)
class Similarity(Record):
    """One pair of models, under one alignment; None throughout where the alignment does not apply. Permutations change
    the update cosines alone."""

    schema = "nid.similarity/1"
    about = PAIR

    align: str = column("How the second model was aligned with the first, by its name in `--align`")
    at: str = column("Where the neurons of `cka` are recorded: post_linear, post_norm or post_activation")
    since: str = column("What updates count from: init (epoch 0) or previous (the saved epoch before)")
    since_epoch: int | None = column("The epoch that updates count from; None where it is not saved", default=None)
    status: str = column("ok, or not_applicable")
    reason: str | None = column("Why the alignment does not apply, or updates are not compared", default=None)
    train: Predicted | None = nested(Predicted, prefix="train_", words="train", title="train {}", default=None)
    val: Predicted | None = nested(Predicted, prefix="val_", words="validation", title="validation {}", default=None)
    test: Predicted | None = nested(Predicted, prefix="test_", words="test", title="test {}", default=None)
    layers: list[int | str] | None = column(
        "The hidden layers, as `nid match` calls them; heads and what is inside of them together, joined by +",
        default=None,
    )
    sites: list[str] | None = column("Where each layer is recorded: `at`, or the last site that it has", default=None)
    cka: list[float | None] | None = column(
        "Linear CKA of each layer, over the training split; None where a layer is constant, or its samples correspond "
        "only after another space is matched",
        default=None,
    )
    cka_debiased: list[float | None] | None = column(
        "The same by the unbiased estimator of Song et al. 2012, on a sample of at most 2,000", default=None
    )
    update_cosine: float | None = column(
        "Cosine of the two models' changes of all trained parameters since `since_epoch`", default=None
    )
    update_cosine_by_parameter: Mapping[str, float | None] | None = column(
        "The same of each parameter; None where a model has not changed it",
        kind="dict[str, float | None] | None",
        default=None,
    )
