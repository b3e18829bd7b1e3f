"""MNIST rotated so that its principal subspace has a chosen coherence (section 10)."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from torch import Tensor

from nid_cli.data.catalog import VAL_SHARE, Parameters
from nid_cli.data.images import load_mnist
from nid_cli.data.tensors import Data, RawData, Split, split_validation
from nid_cli.errors import UsageError

# Raised when a change here makes other data of the same files.
GENERATOR = 1
SWEEPS = 50


def load_mnist_coherence(parameters: Parameters, folder: Path) -> RawData:
    """Normalized MNIST times a rotation R: the top principal directions of the training split's inputs that hold
    ``variance`` of their variance span a subspace of coherence ``coherence``.

    Raises:
        UsageError: no rotation has this coherence (it lies between k/d and 1).
    """
    raw = load_mnist(parameters, folder)
    train, _ = split_validation(raw.train, parameters.get(VAL_SHARE, 0.1))
    whole = Data(train, raw.test, raw.test, raw.normalization)
    rotation = rotate_to_coherence(
        _principal_basis(whole, parameters["variance"]), float(parameters["coherence"])
    ).float()

    def rotated(part: Split) -> Split:
        pieces = [whole.prepare(piece).flatten(1) @ rotation.T for piece in part.inputs.split(4096)]
        return Split(torch.cat(pieces), part.targets)

    digest = hashlib.sha256()
    for part in (raw.train, raw.test):
        digest.update(part.inputs.numpy().data)
        digest.update(part.targets.numpy().data)
    return RawData(rotated(raw.train), rotated(raw.test), generator=f"{GENERATOR} {digest.hexdigest()}")


def _principal_basis(data: Data, variance: float) -> Tensor:
    """U (d x k, float64): the fewest principal directions with this share of the training inputs' variance."""
    d = data.train.inputs[0].numel()
    total, products = torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
    for x, _ in data.batches("train", 4096):
        flat = x.flatten(1)
        total += flat.sum(0)
        products += flat.T @ flat
    mean = total / len(data.train)
    variances, directions = torch.linalg.eigh(products / len(data.train) - torch.outer(mean, mean))
    shares = variances.flip(0).clamp_min(0).cumsum(0)
    k = int((shares < (variance - 1e-12) * shares[-1]).sum()) + 1
    return directions.flip(1)[:, :k].contiguous()


def rotate_to_coherence(basis: Tensor, target: float) -> Tensor:
    """An orthogonal R (d x d, float64) such that the largest squared row norm of R U is ``target``.

    Givens rotations, each of two rows: a row above the target hands what it has too much to the smallest row; where all
    rows are below, the largest takes from the others until it reaches the target.

    Raises:
        UsageError: the target does not lie between k/d and 1.
    """
    d, k = basis.shape
    if not k / d - 1e-12 <= target <= 1:
        raise UsageError(f"coherence must lie between k/d = {k / d:.4f} and 1 here, not {target:g}")
    rows, rotation = basis.clone(), torch.eye(d, dtype=torch.float64)
    norms = rows.square().sum(1)
    if norms.max() < target:
        _raise_largest(rows, rotation, target)
        return rotation
    for _ in range(d):
        high = int(norms.argmax())
        if norms[high] <= target + 1e-12:
            break
        low = int(norms.argmin())
        _turn(rows, rotation, high, low, _angle(rows[high], rows[low], target))
        norms[[high, low]] = rows[[high, low]].square().sum(1)
    return rotation


def _raise_largest(rows: Tensor, rotation: Tensor, target: float) -> None:
    """Turns the largest row towards each other in turn, as far as that pair allows, until it reaches the target."""
    high = int(rows.square().sum(1).argmax())
    for _ in range(SWEEPS):
        for other in range(len(rows)):
            if other == high:
                continue
            a, b = rows[high], rows[other]
            # |cos t a + sin t b|^2 is greatest at half the angle of (|a|^2 - |b|^2, 2 a.b).
            best = 0.5 * math.atan2(2 * float(a @ b), float(a @ a - b @ b))
            peak = (math.cos(best) * a + math.sin(best) * b).square().sum()
            if peak >= target:
                _turn(rows, rotation, high, other, _angle(a, b, target, best))
                return
            _turn(rows, rotation, high, other, best)
    raise UsageError(f"no rotation was found that reaches coherence {target:g}", "ask for a lower one")


def _angle(a: Tensor, b: Tensor, target: float, other_end: float = math.pi / 2) -> float:
    """The angle t, between 0 and ``other_end``, at which |cos t a + sin t b|^2 is ``target``, by bisection."""
    square, mixed, other = float(a @ a), float(a @ b), float(b @ b)

    def above(t: float) -> float:
        c, s = math.cos(t), math.sin(t)
        return c * c * square + 2 * c * s * mixed + s * s * other - target

    low, high, start = 0.0, other_end, above(0.0)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) * start > 0 else (low, middle)
    return high


def _turn(rows: Tensor, rotation: Tensor, first: int, second: int, angle: float) -> None:
    """Applies one Givens rotation to two rows of U and of R, in place."""
    c, s = math.cos(angle), math.sin(angle)
    for matrix in (rows, rotation):
        a, b = matrix[first].clone(), matrix[second].clone()
        matrix[first], matrix[second] = c * a + s * b, c * b - s * a
