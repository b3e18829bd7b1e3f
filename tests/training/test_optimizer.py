"""Section 1, fact 2: training effective weights equals training theta in the explicit parametrization."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nid_cli.graphs import graph_of
from nid_cli.nets.functional import forward
from nid_cli.nets.symmetry import Constraint, constraint, draw_fixed, initial_state, rule_of
from nid_cli.training.optimizer import ConstrainedOptimizer, learning_rate
from tests.conftest import small_spec

STEPS = 40


def explicit(spec: Any, graph: Any, fixed: dict, theta: dict, batches: list) -> dict:
    """Trains theta itself, forming the effective weight in every step, with torch's optimizer alone."""
    kappas = dict(zip([op.name for op in graph.weighted], spec.symmetry.kappa, strict=True))

    def effective() -> dict:
        weights = dict(theta)
        for name, kappa in kappas.items():
            if spec.symmetry.name == "w":
                mask = fixed[f"{name}.mask"].double()
                weights[f"{name}.weight"] = mask * theta[f"{name}.weight"] + (1 - mask) * kappa * fixed[f"{name}.fixed"]
            else:
                weights[f"{name}.weight"] = theta[f"{name}.weight"] + kappa * fixed[f"{name}.noise"]
        return weights

    leaves = list(theta.values())
    if spec.optimizer.name == "adamw":
        optimizer = torch.optim.AdamW(leaves, lr=spec.optimizer.lr, weight_decay=spec.optimizer.weight_decay)
    elif spec.optimizer.name == "adam":
        optimizer = torch.optim.Adam(leaves, lr=spec.optimizer.lr, weight_decay=spec.optimizer.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            leaves, lr=spec.optimizer.lr, weight_decay=spec.optimizer.weight_decay, momentum=spec.optimizer.momentum
        )
    for x, y in batches:
        optimizer.zero_grad()
        F.cross_entropy(forward(graph, effective(), x), y).backward()
        if spec.optimizer.clip is not None:
            torch.nn.utils.clip_grad_norm_(leaves, spec.optimizer.clip)
        optimizer.step()
    return effective()


@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adam"])
@pytest.mark.parametrize(
    ("symmetry", "kappa"), [("w", 1), ("w", [1, 0.5, 0.25]), ("w", 0), ("syre", 1), ("syre", [2, 0, 0.5])]
)
def test_equals_the_explicit_parametrization(symmetry: str, kappa: Any, optimizer: str, clip: float | None) -> None:
    spec = small_spec(
        symmetry=symmetry,
        kappa=kappa,
        optimizer=optimizer,
        lr=0.01,
        weight_decay=0.1,
        momentum=0.9 * (optimizer == "sgd"),
        clip=clip,
    )
    kind, graph = rule_of(symmetry), graph_of(spec)
    fixed = {
        k: t if t.dtype == torch.bool else t.double()
        for k, t in draw_fixed(kind, graph, spec.symmetry.num_fixed, 1).items()
    }
    theta = {k: t.double() for k, t in initial_state(rule_of("standard"), graph, {}, None, 2).items()}
    own = {name: tensor.clone() for name, tensor in theta.items()}
    for op, k in zip(graph.weighted, spec.symmetry.kappa, strict=True):
        parts = {key: fixed[f"{op.name}.{key}"] for key in ("mask", "fixed", "noise") if f"{op.name}.{key}" in fixed}
        own[f"{op.name}.weight"] = kind.effective(theta[f"{op.name}.weight"], parts, k).clone()
    generator = torch.Generator().manual_seed(3)
    batches = [
        (torch.randn(16, 64, generator=generator, dtype=torch.float64), torch.randint(10, (16,), generator=generator))
        for _ in range(STEPS)
    ]
    for tensor in (*theta.values(), *own.values()):
        tensor.requires_grad_()
    constrained = ConstrainedOptimizer(spec.optimizer, own, constraint(kind, graph, fixed, spec.symmetry.kappa))
    for x, y in batches:
        constrained.step(F.cross_entropy(forward(graph, own, x), y))
    reference = explicit(spec, graph, fixed, theta, batches)
    start = initial_state(rule_of("standard"), graph, {}, None, 2)
    for name, tensor in reference.items():
        assert (tensor - own[name]).abs().max() < 1e-12, name
        assert (tensor - start[name].double()).abs().max() > (1e-3 if clip is None else 1e-5), f"{name} did not move"


def test_learning_rate_follows_the_milestones_as_torch_does() -> None:
    spec = small_spec(lr=1e-4, gamma=1.259, milestones=list(range(1, 21)), epochs=30)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=spec.optimizer.lr)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(spec.optimizer.milestones), spec.optimizer.gamma)
    for epoch in range(1, 31):
        assert learning_rate(spec.optimizer, 30, epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()


def test_learning_rate_follows_the_cosine_as_torch_does_and_rises_in_the_warmup() -> None:
    """Seven steps an epoch: a linear rise over the first two of six epochs, then the cosine."""
    steps, spec = 7, small_spec(lr=3e-3, schedule="cosine", warmup=2, epochs=6)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-3)
    rise = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / (2 * steps)))
    rates = []
    for epoch in range(1, 7):
        for step in range(steps):
            rate = learning_rate(spec.optimizer, 6, epoch, step, steps)
            rates.append(rate)
            if epoch <= 2:
                assert rate == pytest.approx(rise.get_last_lr()[0])
                rise.step()
                continue
            if (epoch, step) == (3, 0):
                fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4 * steps)
                fall.base_lrs = [3e-3]
                optimizer.param_groups[0]["lr"] = 3e-3
            assert rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6)
            optimizer.step()
            fall.step()
    assert max(rates) == pytest.approx(3e-3) and 0 < rates[-1] < 2e-5


def test_a_warmup_longer_than_the_training_only_rises() -> None:
    spec = small_spec(schedule="cosine", warmup=5, epochs=2, lr=1.0)
    assert [learning_rate(spec.optimizer, 2, e, s, 2) for e in (1, 2) for s in (0, 1)] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4]
    )


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "adam"])
def test_what_has_no_gradient_is_left_alone(optimizer: str) -> None:
    spec = small_spec(symmetry="syre", optimizer=optimizer, weight_decay=0.5, lr=0.1)
    used, unused = (torch.ones(3, requires_grad=True) for _ in range(2))
    anchor = {"used": torch.full((3,), 5.0), "unused": torch.full((3,), 5.0)}
    own = ConstrainedOptimizer(spec.optimizer, {"used": used, "unused": unused}, Constraint(anchor=anchor))
    own.step((used * 0).sum())
    assert torch.equal(unused, torch.ones(3)) and (used > 1).all()


def test_optimizer_state_round_trips() -> None:
    spec = small_spec(optimizer="adamw")
    graph = graph_of(spec)
    state = initial_state(rule_of("standard"), graph, {}, None, 2)
    copy = {k: t.clone() for k, t in state.items()}
    x, y = torch.randn(8, 64), torch.arange(8)

    def optimizer_for(values: dict) -> ConstrainedOptimizer:
        for tensor in values.values():
            tensor.requires_grad_()
        return ConstrainedOptimizer(spec.optimizer, values, constraint(rule_of("standard"), graph, {}, None))

    first = optimizer_for(state)
    for _ in range(3):
        first.step(F.cross_entropy(forward(graph, state, x), y))
    copy = {k: t.detach().clone() for k, t in state.items()}
    second = optimizer_for(copy)
    second.load_state({k: t.clone() for k, t in first.state().items()})
    for values, optimizer in ((state, first), (copy, second)):
        optimizer.step(F.cross_entropy(forward(graph, values, x), y))
    assert all(torch.equal(state[name], copy[name]) for name in state)
