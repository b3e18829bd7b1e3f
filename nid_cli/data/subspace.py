"""Generated data in a k-dimensional subspace of R^d (docs/science.md, 10), each fixed by its seeds.

``structure_seed`` draws what the classes are and how the subspace lies, ``train_seed`` and ``test_seed`` the samples.
All inputs are x = z E^T with an orthonormal embedding E (d x k), float32.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Generator, Tensor

from nid_cli.data.catalog import Parameters
from nid_cli.data.tensors import RawData, Split

# Raised when a change here draws other data from the same seeds.
GENERATOR = 1

Sampler = Callable[[int, Generator], tuple[Tensor, Tensor]]


def _orthonormal(rows: int, columns: int, generator: Generator) -> Tensor:
    """A Haar-distributed rows x columns matrix with orthonormal columns."""
    q, r = torch.linalg.qr(torch.randn(rows, columns, generator=generator, dtype=torch.float64))
    return q * torch.sign(torch.diagonal(r))


def _embed(parameters: Parameters, build: Callable[[Generator], Sampler]) -> RawData:
    structure = torch.Generator().manual_seed(int(parameters["structure_seed"]))
    embedding = _orthonormal(int(parameters["d"]), int(parameters["k"]), structure).float()
    sample = build(structure)

    def draw(count: int | float, seed: int | float) -> Split:
        latents, targets = sample(int(count), torch.Generator().manual_seed(int(seed)))
        return Split(latents @ embedding.T, targets)

    return RawData(
        draw(parameters["samples"], parameters["train_seed"]),
        draw(parameters["test_samples"], parameters["test_seed"]),
        generator=GENERATOR,
    )


def load_gaussian(parameters: Parameters, folder: Path) -> RawData:
    """Classes N(m_c, R_c diag(s_c^2) R_c^T): m_c ~ N(0, sep^2), s_c uniform in [0.5, 1.5], R_c Haar."""
    k, classes = int(parameters["k"]), int(parameters["classes"])

    def build(structure: Generator) -> Sampler:
        means = parameters["sep"] * torch.randn(classes, k, generator=structure)
        scales = 0.5 + torch.rand(classes, k, generator=structure)
        rotations = [_orthonormal(k, k, structure).float() for _ in range(classes)]

        def sample(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
            labels = torch.randint(classes, (count,), generator=generator)
            latents = torch.randn(count, k, generator=generator)
            for c in range(classes):
                members = labels == c
                latents[members] = means[c] + (latents[members] * scales[c]) @ rotations[c].T
            return latents, labels

        return sample

    return _embed(parameters, build)


def load_parity(parameters: Parameters, folder: Path) -> RawData:
    """z uniform in [-1, 1]^k; label = (number of negative coordinates) mod m."""
    k, m = int(parameters["k"]), int(parameters["m"])

    def sample(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        latents = 2 * torch.rand(count, k, generator=generator) - 1
        return latents, (latents < 0).sum(1) % m

    return _embed(parameters, lambda structure: sample)


def load_multilabel(parameters: Parameters, folder: Path) -> RawData:
    """z ~ N(0, I_k); k labels, z > 0."""
    k = int(parameters["k"])

    def sample(count: int, generator: Generator) -> tuple[Tensor, Tensor]:
        latents = torch.randn(count, k, generator=generator)
        return latents, (latents > 0).float()

    return _embed(parameters, lambda structure: sample)
