"""The proof by running: what is derived wrongly on purpose is found, and by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from nid_cli.nets.agreement import agree, differing_gradient
from nid_cli.nets.axes import Axes, Leaf, Pinned
from nid_cli.nets.export import export
from nid_cli.nets.proof import prove, random_tensors, symmetries_of
from tests.nets.modules import ROWS


def _mlp() -> nn.Sequential:
    torch.manual_seed(0)
    layers = [layer for _ in range(6) for layer in (nn.Linear(16, 16), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(16, 3))


def test_a_right_derivation_holds() -> None:
    described, state, *_ = export(_mlp(), ROWS)
    found = prove(described, state, symmetries_of(described))
    assert found.error <= 1e-12 and found.at_fault == ()
    assert found.moved == 1 - 3 / (6 * 17 * 16 + 17 * 3)  # all but the output's biases


@pytest.mark.parametrize("wrong", [(0,), (3,), (0, 5), (2, 3)])
def test_spaces_at_fault_are_found(wrong: tuple[int, ...]) -> None:
    """The bias of a layer is said to stay where its weight's rows move."""
    described, state, *_ = export(_mlp(), ROWS)
    derived = symmetries_of(described)
    pinned: Mapping[str, Axes] = {f"{2 * place}.bias": (Pinned(16),) for place in wrong}
    broken = dataclasses.replace(derived, axes={**derived.axes, **pinned})
    found = prove(described, state, broken)
    expected = {leaf.space for place in wrong for leaf in derived.axes[f"{2 * place}.bias"] if isinstance(leaf, Leaf)}
    assert set(found.at_fault) == expected and len(found.at_fault) == len(wrong)
    assert found.error <= 1e-12


def test_spaces_that_fail_only_together_are_all_found() -> None:
    """Two spaces on the axes of one tensor, in the place of one that both are pinned by: nothing of it is trusted."""
    described, state, *_ = export(_mlp(), ROWS)
    derived = symmetries_of(described)
    axes = {**derived.axes, "2.weight": tuple(reversed(derived.axes["2.weight"]))}
    assert len(prove(described, state, dataclasses.replace(derived, axes=axes)).at_fault) >= 2


def test_buffers_that_are_constants_keep_their_values() -> None:
    class Indexed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 16)
            self.register_buffer("order", torch.tensor([2, 0, 1]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(x)[:, self.order]

    described, state, *_ = export(Indexed(), ROWS)
    assert torch.equal(random_tensors(described, state)["order"], torch.tensor([2, 0, 1]))
    assert prove(described, state, symmetries_of(described)).error <= 1e-9


def test_a_changed_module_does_not_agree() -> None:
    module = _mlp()
    described, state, *_ = export(module, ROWS)
    x = torch.randn(4, 5, 16)
    assert agree(module, described, state, [x]).evaluation < 1e-6
    kept = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        module[4].weight[0, 0] += 0.1
    assert agree(module, described, kept, [x]).evaluation > 1e-6


def test_rounding_is_told_from_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    module = _mlp()
    described, state, *_ = export(module, ROWS)
    x = torch.randn(4, 5, 16)
    monkeypatch.setattr("nid_cli.nets.agreement.ROUNDING", -1.0)
    assert agree(module, described, state, [x]).evaluation < 1e-14
    with torch.no_grad():
        module[4].bias[0] += 1e-5
    assert agree(module, described, {n: v.clone() for n, v in state.items()}, [x]).evaluation < 1e-14
    kept = {name: value.clone() for name, value in state.items()}
    with torch.no_grad():
        module[4].bias[0] += 1e-5
    assert agree(module, described, kept, [x]).evaluation > 1e-7


class Attending(nn.Module):
    """Attention whose keys have biases, which a softmax takes no notice of: their gradient is rounding alone."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.out = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out((self.query(x) @ self.key(x).mT / 3).softmax(-1) @ x)


class Otherwise(Attending):
    """The same, rounded otherwise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out((self.query(x) / 3 @ self.key(x).mT).softmax(-1) @ x)


class Half(Attending):
    """The keys learn by half of what they do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        key = self.key(x)
        return self.out((self.query(x) @ (key + key.detach()).mT / 6).softmax(-1) @ x)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("kind", "expected"), [(Attending, None), (Otherwise, None), (Half, "key.weight")])
def test_gradients_differ_by_more_than_rounding(kind: type[Attending], expected: str | None, seed: int) -> None:
    torch.manual_seed(seed)
    module, other = Attending(), kind()
    described, state, *_ = export(module, ROWS)
    other.load_state_dict(state)
    assert differing_gradient(other, described, state, [torch.randn(4, 5, 16)]) == expected
    assert all(parameter.grad is None for parameter in other.parameters())
