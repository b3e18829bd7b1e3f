from pathlib import Path

import numpy as np
import pytest
import torch

from nid_cli.data.catalog import CATALOG, resolve_parameters
from nid_cli.data.load import load
from nid_cli.errors import NotFoundError, UsageError

NOWHERE = Path("/nonexistent")


def small(name: str, **parameters: object):
    return load(name, resolve_parameters(name, parameters), NOWHERE)


def test_digits_are_split_and_standardized() -> None:
    data = small("digits")
    assert (len(data.train), len(data.val), len(data.test)) == (1295, 143, 359)
    assert data.train.inputs.dtype == torch.uint8
    x = torch.cat([x for x, _ in data.batches("train", 100)])
    assert x.shape == (1295, 1, 8, 8) and abs(x.mean()) < 1e-5 and abs(x.std() - 1) < 1e-5
    rows = {bytes(row.numpy().tobytes()) for row in torch.cat([data.train.inputs, data.val.inputs, data.test.inputs])}
    assert len(rows) > 1700


def test_fingerprints_tell_data_apart_and_repeat() -> None:
    assert small("digits").fingerprint() == small("digits").fingerprint()
    tiny = {"samples": 100, "test_samples": 20, "k": 4, "d": 16}
    prints = {
        small("gaussian-subspace", **tiny, **more).fingerprint() for more in ({}, {"train_seed": 1}, {"sep": 1.0})
    }
    assert len(prints) == 3


@pytest.mark.parametrize("name", ["gaussian-subspace", "parity-subspace", "multilabel-subspace"])
def test_generated_inputs_lie_in_a_k_dimensional_subspace(name: str) -> None:
    data = small(name, samples=400, test_samples=50, k=6, d=32)
    rank = torch.linalg.matrix_rank(torch.cat([data.train.inputs, data.val.inputs, data.test.inputs]), rtol=1e-5)
    assert rank == 6 and len(data.train) == 360 and len(data.test) == 50


def test_parity_labels_count_negative_coordinates() -> None:
    data = small("parity-subspace", samples=400, test_samples=50, k=5, d=5, m=3)
    basis = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(789), dtype=torch.float64))
    embedding = (basis.Q * torch.sign(torch.diagonal(basis.R))).float()
    latents = data.train.inputs @ embedding
    assert torch.equal((latents < 0).sum(1) % 3, data.train.targets) and latents.abs().max() <= 1 + 1e-5


def test_multilabel_targets_are_signs() -> None:
    data = small("multilabel-subspace", samples=200, test_samples=20, k=7, d=9)
    assert data.train.targets.shape == (180, 7) and set(data.train.targets.unique().tolist()) == {0.0, 1.0}
    assert CATALOG["multilabel-subspace"].outputs({"k": 7}) == 7


def test_train_size_takes_the_first_samples() -> None:
    whole, part = small("digits"), small("digits", train_size=100)
    assert torch.equal(part.train.inputs, whole.train.inputs[:100]) and torch.equal(part.val.inputs, whole.val.inputs)
    with pytest.raises(UsageError, match="exceeds"):
        small("digits", train_size=5000)


def test_missing_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        load("mnist", {}, tmp_path / "empty")
    assert "mnist" in caught.value.message and "digits" in caught.value.hint


def test_mnist_is_split_as_the_reference_does(shared: Path) -> None:
    data = load("mnist", {}, shared / "data")
    assert (len(data.train), len(data.val), len(data.test)) == (54_000, 6_000, 10_000)
    raw = np.fromfile(shared / "data/MNIST/raw/train-images-idx3-ubyte", dtype=np.uint8)[16:].reshape(-1, 28, 28)
    expected = torch.utils.data.random_split(range(60_000), [54_000, 6_000], torch.Generator().manual_seed(42))
    assert np.array_equal(data.val.inputs[:5, 0].numpy(), raw[expected[1].indices[:5]])
    x, _ = next(data.batches("val", 5))
    assert np.allclose(x[:, 0].numpy(), (raw[expected[1].indices[:5]] / 255 - 0.1307) / 0.3081, atol=1e-6)
    assert data.train.inputs.dtype == torch.uint8
