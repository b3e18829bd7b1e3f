"""MNIST rotated so that its principal subspace has a chosen coherence (docs/science.md, 10)."""

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


def load_mnist_coherence(parameters: Parameters, folder: Path) -> RawData:
    """Normalized MNIST times a rotation R: the top principal directions of the training split's inputs that hold
    ``variance`` of their variance span a subspace of coherence ``coherence``.

    Raises:
        UsageError: no rotation has this coherence (it lies between k/d and 1).
    """
    raw = load_mnist(parameters, folder)
    train, _ = split_validation(raw.train, parameters.get(VAL_SHARE, 0.1))
    whole = Data(train, raw.test, raw.test, raw.normalization)
    directions, k = _principal_directions(whole, float(parameters["variance"]))
    rotation = (spread(len(directions), k, float(parameters["coherence"])) @ directions.T).float()

    def rotated(part: Split) -> Split:
        pieces = [whole.prepare(piece).flatten(1) @ rotation.T for piece in part.inputs.split(4096)]
        return Split(torch.cat(pieces), part.targets)

    digest = hashlib.sha256()
    for part in (raw.train, raw.test):
        digest.update(part.inputs.numpy().data)
        digest.update(part.targets.numpy().data)
    return RawData(rotated(raw.train), rotated(raw.test), generator=f"{GENERATOR} {digest.hexdigest()}")


def _principal_directions(data: Data, variance: float) -> tuple[Tensor, int]:
    """All principal directions of the training inputs (d x d, float64, largest variance first), and how many of them
    hold this share of the variance."""
    d = data.train.inputs[0].numel()
    total, products = torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
    for x, _ in data.batches("train", 4096):
        flat = x.flatten(1)
        total += flat.sum(0)
        products += flat.T @ flat
    mean = total / len(data.train)
    variances, directions = torch.linalg.eigh(products / len(data.train) - torch.outer(mean, mean))
    shares = variances.flip(0).clamp_min(0).cumsum(0)
    return directions.flip(1), int((shares < (variance - 1e-12) * shares[-1]).sum()) + 1


def spread(d: int, k: int, coherence: float) -> Tensor:
    """An orthogonal G (d x d, float64) whose first k columns span a subspace of this coherence.

    It starts from the first k axes (coherence 1, as concentrated as can be) and mixes coordinates by Givens rotations:
    each takes a row of squared norm above the target down to it, and hands the rest to the smallest row. At k/d the
    subspace lies evenly over all coordinates.

    Raises:
        UsageError: the coherence does not lie between k/d and 1.
    """
    if not k / d - 1e-12 <= coherence <= 1:
        raise UsageError(f"coherence must lie between k/d = {k / d:.4f} and 1 here, not {coherence:g}")
    rotation = torch.eye(d, dtype=torch.float64)
    norms = torch.cat([torch.ones(k, dtype=torch.float64), torch.zeros(d - k, dtype=torch.float64)])
    for _ in range(d):
        high, low = int(norms.argmax()), int(norms.argmin())
        if norms[high] <= coherence + 1e-12:
            break
        angle = _angle(rotation[high, :k], rotation[low, :k], coherence)
        c, s = math.cos(angle), math.sin(angle)
        a, b = rotation[high].clone(), rotation[low].clone()
        rotation[high], rotation[low] = c * a + s * b, c * b - s * a
        norms[[high, low]] = rotation[[high, low], :k].square().sum(1)
    return rotation


def _angle(a: Tensor, b: Tensor, target: float) -> float:
    """The angle t in [0, pi/2] at which |cos t a + sin t b|^2 falls to ``target``, by bisection."""
    square, mixed, other = float(a @ a), float(a @ b), float(b @ b)
    low, high = 0.0, math.pi / 2
    for _ in range(80):
        middle = (low + high) / 2
        c, s = math.cos(middle), math.sin(middle)
        above = c * c * square + 2 * c * s * mixed + s * s * other > target
        low, high = (middle, high) if above else (low, middle)
    return high
