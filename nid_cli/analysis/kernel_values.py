"""What is said of a kernel, and of two of them (docs/science.md, 13)."""

from __future__ import annotations

import torch
from torch import Tensor

from nid_cli.records.ntk import Comparison, Spectrum


def spectrum(kernel: Tensor) -> Spectrum:
    """Eigenvalues of a kernel (N x N, symmetric), in sum.

    The condition number of a kernel whose least eigenvalue is no more than rounding is None.
    """
    kernel = kernel.double().cpu()
    values = torch.linalg.eigvalsh(kernel)
    least, greatest, trace = float(values[0]), float(values[-1]), float(kernel.trace())
    rounding = len(kernel) * torch.finfo(torch.float64).eps * greatest
    return Spectrum(
        trace=trace,
        frobenius_norm=float(torch.linalg.matrix_norm(kernel)),
        greatest_eigenvalue=greatest,
        least_eigenvalue=least,
        mean_eigenvalue=trace / len(kernel),
        median_eigenvalue=float(values.quantile(0.5)),
        condition_number=greatest / least if least > rounding else None,
        effective_rank=trace / greatest if greatest > 0 else None,
    )


def compare(kernel: Tensor, other: Tensor) -> Comparison:
    """A kernel beside another of the same samples (N x N), which the change is relative to."""
    kernel, other = kernel.double().cpu(), other.double().cpu()
    length = float(torch.linalg.matrix_norm(other))
    difference = float(torch.linalg.matrix_norm(kernel - other))
    return Comparison(
        cka=_cosine(_centered(kernel), _centered(other)),
        cosine=_cosine(kernel, other),
        change=difference / length if length > 0 else None,
    )


def _centered(kernel: Tensor) -> Tensor:
    """H K H with H = I - 1/N."""
    rows = kernel - kernel.mean(0, keepdim=True)
    return rows - rows.mean(1, keepdim=True)


def _cosine(a: Tensor, b: Tensor) -> float | None:
    """<A, B> / (|A| |B|); None where one of them is zero."""
    lengths = float(torch.linalg.matrix_norm(a) * torch.linalg.matrix_norm(b))
    return float((a * b).sum()) / lengths if lengths > 0 else None
