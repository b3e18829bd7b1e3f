"""Rotations that set a subspace's coherence."""

from pathlib import Path

import pytest
import torch

from nid_cli.analysis.subspace import Moments, principal_subspace
from nid_cli.data.coherent import spread
from nid_cli.data.load import load
from nid_cli.errors import UsageError


@pytest.mark.parametrize(("d", "k"), [(20, 5), (30, 3), (12, 11)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_target_is_reached_by_a_rotation(d: int, k: int, share: float) -> None:
    target = k / d + share * (1 - k / d)
    rotation = spread(d, k, target)
    torch.testing.assert_close(rotation @ rotation.T, torch.eye(d, dtype=torch.float64))
    norms = rotation[:, :k].square().sum(1)
    assert norms.max().item() == pytest.approx(target, abs=1e-6)
    if share == 0:
        assert norms.min().item() == pytest.approx(k / d, abs=1e-6)


def test_what_no_rotation_can_do_is_refused() -> None:
    for target in (0.39, 1.01):
        with pytest.raises(UsageError, match="between k/d"):
            spread(10, 4, target)


def test_rotated_mnist_has_the_coherence_asked_for(shared: Path) -> None:
    parameters = {"coherence": 0.3, "variance": 0.9}
    data = load("mnist-coherence", parameters, shared / "data")
    plain = load("mnist", {}, shared / "data")
    x, y = next(data.batches("train", 54_000))
    moments = Moments.start(x)
    for part in x.split(4096):
        moments.add(part)
    found = principal_subspace(moments.covariance(), 0.9)
    assert found.coherence == pytest.approx(0.3, abs=1e-3) and found.basis.shape == (784, 87)
    before = next(plain.batches("train", 100))[0].flatten(1)
    torch.testing.assert_close(x[:100] @ x[:100].T, before @ before.T, rtol=1e-4, atol=1e-2)
    assert torch.equal(y, plain.train.targets)
    assert (
        data.fingerprint()
        == load("mnist-coherence", {"coherence": 0.3, "variance": 0.9}, shared / "data").fingerprint()
    )
