"""Image data sets: torchvision's CIFAR as it hands it over, and folders of pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from nid_cli.data.catalog import resolve_parameters
from nid_cli.data.load import load
from nid_cli.errors import NidError, NotFoundError, UsageError


class FakeCifar:
    base_folder = "cifar-10-batches-py"

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        count = 50 if train else 20
        self.data = np.random.default_rng(train).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        self.targets = [i % 10 for i in range(count)]


@pytest.mark.parametrize(("name", "augment"), [("cifar10", 1), ("cifar10", 0), ("cifar100", 1)])
def test_cifar_becomes_channels_first_bytes(name: str, augment: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.datasets, name.upper(), FakeCifar)
    data = load(name, resolve_parameters(name, {"augment": augment}), Path("/nonexistent"))
    assert (len(data.train), len(data.val), len(data.test)) == (45, 5, 20) and data.augmented == bool(augment)
    raw = FakeCifar(Path(), train=False, download=False)
    x, y = next(data.batches("test", 20))
    assert x.shape == (20, 3, 32, 32) and y.tolist() == raw.targets
    mean, std = data.normalization.mean, data.normalization.std
    expected = (raw.data[7, 4, 9] / 255 - mean) / std
    np.testing.assert_allclose(x[7, :, 4, 9].numpy(), expected, rtol=1e-5)


def test_missing_cifar_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Missing(FakeCifar):
        def __init__(self, *_: object, **__: object) -> None:
            raise RuntimeError("Dataset not found")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Missing)
    with pytest.raises(NotFoundError, match="cifar10 is not in"):
        load("cifar10", resolve_parameters("cifar10", {}), tmp_path)


@pytest.mark.parametrize(("size", "head"), [(1000, b""), (47_040_016, b"\1\2\3\4")])
def test_damaged_mnist_is_not_taken_for_missing(tmp_path: Path, size: int, head: bytes) -> None:
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    heads = {"images-idx3-ubyte": bytes([0, 0, 8, 3, 0, 0, 234, 96, 0, 0, 0, 28, 0, 0, 0, 28])}
    heads["labels-idx1-ubyte"] = bytes([0, 0, 8, 1, 0, 0, 234, 96])
    for part in ("train", "t10k"):
        for name, own in heads.items():
            with open(raw / f"{part}-{name}", "wb") as file:
                file.write(head or own)
                file.truncate(size)
    with pytest.raises(NidError, match=r"the files of mnist in .* are damaged: .") as caught:
        load("mnist", resolve_parameters("mnist", {}), tmp_path)
    assert not isinstance(caught.value, NotFoundError)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of pictures: red ones, larger, and blue ones."""
    for part, count in (("train", 12), ("test", 4)):
        for name, color, size in (("blue", (0, 0, 200), (9, 5)), ("red", (100, 0, 0), (40, 30))):
            folder = tmp_path / "image-folder" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", size, color).save(folder / f"{i}.png")
    return tmp_path


def read(folder: Path, **parameters: object):
    return load("image-folder", resolve_parameters("image-folder", {"classes": 2, "size": 8, **parameters}), folder)


def test_image_folders_are_resized_standardized_and_cached(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read(pictures)
    assert (len(data.train), len(data.val), len(data.test)) == (22, 2, 8) and data.augmented
    assert data.train.inputs.shape[1:] == (3, 8, 8) and data.train.inputs.dtype == torch.uint8
    red = data.test.inputs[data.test.targets == 1]
    assert (red[:, 0] == 100).all() and (red[:, 1:] == 0).all()
    assert all(abs(m - v / 2 / 255) < 1e-6 for m, v in zip(data.normalization.mean, (100, 0, 200), strict=True))
    assert len(list((pictures / "image-folder").glob(".cache-*-8-*.safetensors"))) == 2
    monkeypatch.setattr(Image, "open", lambda path: pytest.fail("read again"))
    assert read(pictures).fingerprint() == data.fingerprint()


def test_a_changed_picture_is_read_anew(pictures: Path) -> None:
    before = read(pictures).fingerprint()
    Image.new("RGB", (9, 5), (7, 7, 7)).save(pictures / "image-folder/train/red/0.png")
    assert read(pictures).fingerprint() != before
    assert len(list((pictures / "image-folder").glob(".cache-*"))) == 2


def test_bad_image_folders_are_refused(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has 2 classes, not 3"):
        read(pictures, classes=3)
    (pictures / "image-folder/test/red/0.png").write_bytes(b"no picture")
    with pytest.raises(NidError, match=r"0\.png cannot be read"):
        read(pictures)
    Image.new("I;16", (9, 5)).save(pictures / "image-folder/test/red/0.png")
    with pytest.raises(NidError, match="more than 8 bits"):
        read(pictures)
    with pytest.raises(NotFoundError, match="is not there"):
        read(tmp_path / "elsewhere")
