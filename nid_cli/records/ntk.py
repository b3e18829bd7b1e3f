"""Neural tangent kernels of models, and of pairs of them (docs/science.md, 13)."""

from __future__ import annotations

from dataclasses import dataclass

from nid_cli.records.base import MODEL, PAIR, Record, column, nested


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """A kernel's size, and the spread of its eigenvalues."""

    trace: float | None = column("Sum of the kernel's eigenvalues")
    frobenius_norm: float | None = column("Frobenius norm of the kernel")
    greatest_eigenvalue: float | None = column("Greatest eigenvalue")
    least_eigenvalue: float | None = column("Least eigenvalue")
    mean_eigenvalue: float | None = column("Mean of the eigenvalues")
    median_eigenvalue: float | None = column("Median of the eigenvalues")
    condition_number: float | None = column("Greatest over least eigenvalue; None where the least is mere rounding")
    effective_rank: float | None = column("Sum of the eigenvalues over the greatest", title="effective rank")


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two kernels of the same samples."""

    cka: float | None = column("Centered kernel alignment, from 0 to 1", title="CKA")
    cosine: float | None = column("Cosine of the two kernels as vectors")
    change: float | None = column("Frobenius norm of the difference over that of the other kernel", title="change")


@dataclass(frozen=True, kw_only=True)
class Linearization:
    """A network's outputs beside those of its linearization at its initialization."""

    mse: float | None = column("Mean squared difference of the outputs")
    relative_error: float | None = column("Norm of that difference over the norm of the network's outputs")
    cosine: float | None = column("Cosine of the two networks' outputs as vectors")
    agreement: float | None = column("Share of the answers that are the same")


@dataclass(frozen=True, kw_only=True)
class Ntk(Record):
    """The kernel of one model at one epoch, beside those of its initialization and of its previous saved epoch."""

    schema = "nid.ntk/1"
    about = MODEL

    split: str = column("The split that the samples are of")
    samples: int = column("How many samples the kernel has, of each class equally many")
    spectrum: Spectrum | None = nested(Spectrum)
    init: Comparison | None = nested(
        Comparison, prefix="init_", words="with the model's epoch 0; None where it has none", title="{} to epoch 0"
    )
    previous_epoch: int | None = column("The epoch saved before this one")
    previous: Comparison | None = nested(
        Comparison, prefix="previous_", words="with its previous saved epoch; None where there is none", title="{} step"
    )
    linear: Linearization | None = nested(
        Linearization, prefix="linear_", words="linearized at epoch 0; None where it has none", title="linearized {}"
    )
    status: str = column("ok, or not_applicable where samples make no sense")
    reason: str | None = column("Why it is not applicable, or not compared with the initialization")


@dataclass(frozen=True, kw_only=True)
class NtkPair(Record):
    """The kernels of two models at one epoch; the change is relative to the first model's."""

    schema = "nid.ntk/1"
    about = PAIR

    split: str = column("The split that the samples are of")
    samples: int = column("How many samples the kernels have, of each class equally many")
    comparison: Comparison | None = nested(Comparison)
    status: str = column("ok, or not_applicable where samples make no sense")
    reason: str | None = column("Why it is not applicable")
