"""Tangent kernels, held against a loop of one backward pass a sample and output, and linearizations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nid_cli.analysis.class_samples import Samples, draw_samples
from nid_cli.analysis.kernel_values import compare, spectrum
from nid_cli.analysis.linearization import linearization, linearize
from nid_cli.analysis.tangent_kernel import tangent_kernel
from nid_cli.analysis.tangent_network import TangentNetwork, in_double
from nid_cli.data.tensors import Data, Split
from nid_cli.errors import UsageError
from nid_cli.nets.example import example
from nid_cli.nets.export import export
from nid_cli.nets.graph import INPUT, Graph
from nid_cli.nets.interpreter import run
from nid_cli.nets.permutation import permute, random
from nid_cli.nets.symmetry import constants_of, constraint, draw_fixed, initial_state, rule_of
from nid_cli.specs import Measures
from tests.analysis import exported
from tests.nets.native import IMAGES, TOKENS, graph_of

LABELS = Measures((6,), 4, "labels")
# By name: architecture, measures, symmetry, how many entries of each neuron are fixed, and the network's own settings.
NETWORKS = {
    "mlp": ("mlp", LABELS, "standard", 0, {"depth": 3, "norm": "layer"}),
    "mlp-batch": ("mlp", IMAGES, "standard", 0, {"depth": 3, "norm": "batch"}),
    "mlp-plain": ("mlp", IMAGES, "syre", 0, {"norm": "none"}),
    "w-few-fixed": ("mlp", IMAGES, "w", 3, {"depth": 3}),
    "w-most-fixed": ("mlp", IMAGES, "w", 10, {"depth": 3}),
    "sigma": ("mlp", IMAGES, "sigma", 0, {"depth": 3}),
    "resnet": ("resnet", Measures((2, 8, 8), 3, "classes"), "standard", 0, {"depth": 8, "width": 1, "norm": "group"}),
    "w-resnet": ("resnet", Measures((2, 8, 8), 3, "classes"), "w", 4, {"depth": 8, "width": 1, "norm": "batch"}),
    "vit": ("vit", IMAGES, "standard", 0, {"heads": 3, "patch": 2}),
    "w-vit": ("vit", IMAGES, "w", 3, {"heads": 3, "patch": 2}),
    "gpt": ("gpt", TOKENS, "standard", 0, {"heads": 3, "depth": 1, "tied": False}),
    "tied-gpt": ("gpt", TOKENS, "standard", 0, {"heads": 3, "depth": 1, "tied": True}),
    "w-tied-gpt": ("gpt", TOKENS, "w", 3, {"heads": 3, "depth": 1, "tied": True}),
}
OWN = {"own-square": "square", "own-gpt": "gpt", "own-mixer": "mixer"}


def masks_of(graph: Graph, pinned: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    masks = {}
    for name, (index, _) in pinned.items():
        masks[name] = torch.ones(graph.parameters[name], dtype=torch.bool)
        masks[name].view(-1)[index] = False
    return masks


def setting(name: str, seed: int = 0) -> TangentNetwork:
    """A small network whose norms, biases and statistics are random too."""
    if name in OWN:
        graph, state = exported.network(OWN[name], seed)
        return TangentNetwork(graph, state, {})
    arch, measures, symmetry, count, own = NETWORKS[name]
    graph = graph_of(arch, measures, gated=symmetry == "sigma", **own)
    rule, kappa = rule_of(symmetry), (1.0,) * len(graph.weighted)
    fixed = draw_fixed(rule, graph, (count,) * len(graph.weighted) if count else None, 5)
    state = initial_state(rule, graph, fixed, kappa, seed) | constants_of(graph, fixed)
    generator = torch.Generator().manual_seed(seed)
    for key in (*graph.trained, *graph.running):
        if state[key].ndim == 1:
            state[key] = state[key] + 0.3 * torch.rand(state[key].shape, generator=generator)
    return TangentNetwork(graph, state, masks_of(graph, constraint(rule, graph, fixed, kappa).pinned))


def samples_of(graph: Graph, count: int = 5) -> Samples:
    [x] = example(graph.description.inputs, count, seed=3)
    if not graph.by_position:
        return Samples(x.double())
    counted = torch.rand(count, x.shape[1], generator=torch.Generator().manual_seed(0)) < 0.7
    counted[:, 0] = True
    return Samples(x, counted=counted)


def outputs(network: TangentNetwork, samples: Samples, place: int, parameters: dict[str, Tensor]) -> Tensor:
    """Those of one sample; the mean over the positions that count."""
    graph = network.graph
    given = {INPUT: samples.inputs[place : place + 1]}
    found = run(network.plan, network.state | parameters, given, (graph.output,))[graph.output][0]
    return found if samples.counted is None else found[samples.counted[place]].mean(0)


def jacobian(network: TangentNetwork, samples: Samples) -> Tensor:
    """Samples x outputs x all trained entries, by one backward pass each."""
    names = network.graph.trained
    leaves = {name: network.state[name].clone().requires_grad_() for name in names}
    rows = []
    with in_double():
        for place in range(len(samples)):
            for value in outputs(network, samples, place, leaves):
                found = torch.autograd.grad(value, list(leaves.values()), retain_graph=True, materialize_grads=True)
                parts = (
                    own[network.trainable[name]] if name in network.trainable else own.flatten()
                    for name, own in zip(names, found, strict=True)
                )
                rows.append(torch.cat(list(parts)))
    return torch.stack(rows).view(len(samples), network.graph.outputs, -1)


@pytest.mark.parametrize("name", [*NETWORKS, *OWN])
def test_the_kernel_is_that_of_the_loop(name: str) -> None:
    network = setting(name)
    samples = samples_of(network.graph)
    gradients = jacobian(network, samples)
    expected = torch.einsum("akp,bkp->ab", gradients, gradients)
    found = tangent_kernel(network, samples)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))
    # In blocks of one sample, and one output at a time, it is the same.
    torch.testing.assert_close(tangent_kernel(network, samples, entries=1), found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pieces", [1, 200])
def test_small_pieces_make_the_same_kernel(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("w-few-fixed", "w-most-fixed", "w-vit", "vit", "own-square"):
        network = setting(name)
        samples = samples_of(network.graph)
        whole = tangent_kernel(network, samples)
        with monkeypatch.context() as patch:
            patch.setattr("nid_cli.analysis.tangent_kernel.PIECE_ENTRIES", pieces)
            torch.testing.assert_close(tangent_kernel(network, samples), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["mlp-batch", "w-most-fixed", "vit"])
def test_a_kernel_is_symmetric_and_positive_semi_definite(name: str) -> None:
    network = setting(name)
    kernel = tangent_kernel(network, samples_of(network.graph, 8))
    assert torch.equal(kernel, kernel.T)
    values = torch.linalg.eigvalsh(kernel)
    assert values[0] > -1e-12 * values[-1] and values[-1] > 0


def test_what_is_fixed_altogether_has_no_gradient() -> None:
    network = setting("w-few-fixed")
    alone = TangentNetwork(network.graph, network.state, network.trainable)
    none = {n: torch.zeros(s, dtype=torch.bool) for n, s in network.graph.parameters.items() if len(s) > 1}
    fixed = TangentNetwork(network.graph, network.state, none)
    samples = samples_of(network.graph)
    biases = jacobian(fixed, samples)
    expected = torch.einsum("akp,bkp->ab", biases, biases)
    torch.testing.assert_close(tangent_kernel(fixed, samples), expected, rtol=1e-9, atol=1e-9)
    assert tangent_kernel(fixed, samples).trace() < tangent_kernel(alone, samples).trace()


@pytest.mark.parametrize("name", ["mlp", "resnet", "vit", "gpt"])
def test_a_permutation_of_neurons_leaves_the_kernel_as_it_is(name: str) -> None:
    network = setting(name)
    graph = network.graph
    moved = random(graph.spaces, torch.Generator().manual_seed(1))
    permuted = permute(graph.symmetries.axes, network.state, moved)
    assert any(not torch.equal(permuted[key], network.state[key]) for key in graph.trained)
    samples = samples_of(graph)
    kernel, other = (tangent_kernel(TangentNetwork(graph, s, {}), samples) for s in (network.state, permuted))
    torch.testing.assert_close(other, kernel, rtol=1e-9, atol=1e-9 * float(kernel.abs().max()))
    found = compare(other, kernel)
    assert found.cka == pytest.approx(1) and found.cosine == pytest.approx(1) and found.change < 1e-9


def test_the_values_of_a_kernel_are_those_of_its_eigenvalues() -> None:
    root = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kernel = root @ root.T
    values = sorted(float(v) for v in torch.linalg.eigh(kernel)[0])
    found = spectrum(kernel)
    assert found.trace == pytest.approx(sum(values)) and found.mean_eigenvalue == pytest.approx(sum(values) / 6)
    assert found.frobenius_norm == pytest.approx(sum(v * v for v in values) ** 0.5)
    assert (found.least_eigenvalue, found.greatest_eigenvalue) == pytest.approx((values[0], values[-1]))
    assert found.median_eigenvalue == pytest.approx((values[2] + values[3]) / 2)
    assert found.condition_number == pytest.approx(values[-1] / values[0])
    assert found.effective_rank == pytest.approx(sum(values) / values[-1])
    flat = torch.ones(4, 4)
    assert spectrum(flat).condition_number is None and spectrum(flat).effective_rank == pytest.approx(1)
    zero = spectrum(torch.zeros(3, 3))
    assert zero.effective_rank is None and zero.condition_number is None


def test_two_kernels_are_compared_entry_by_entry() -> None:
    generator = torch.Generator().manual_seed(0)
    roots = [torch.randn(5, 7, dtype=torch.float64, generator=generator) for _ in range(2)]
    a, b = (root @ root.T for root in roots)
    found, n = compare(a, b), 5

    def total(x: Tensor, y: Tensor) -> float:
        return sum(float(x[i, j]) * float(y[i, j]) for i in range(n) for j in range(n))

    def centered(x: Tensor) -> Tensor:
        rows = [
            [float(x[i, j]) - float(x[i].mean()) - float(x[:, j].mean()) + float(x.mean()) for j in range(n)]
            for i in range(n)
        ]
        return torch.tensor(rows, dtype=torch.float64)

    assert found.cosine == pytest.approx(total(a, b) / (total(a, a) * total(b, b)) ** 0.5)
    assert found.change == pytest.approx((total(a - b, a - b) / total(b, b)) ** 0.5)
    c, d = centered(a), centered(b)
    assert found.cka == pytest.approx(total(c, d) / (total(c, c) * total(d, d)) ** 0.5)
    same = compare(a, a)
    assert same.cka == pytest.approx(1) and same.cosine == pytest.approx(1) and same.change == 0
    # Centered alignment neither sees scales nor what all samples share.
    assert compare(3 * a + 2, a).cka == pytest.approx(1)
    assert compare(torch.ones(3, 3), torch.eye(3)).cka is None


def moved_from(start: TangentNetwork, by: float, seed: int = 9) -> TangentNetwork:
    """The network after a random step of its trained entries."""
    generator, state = torch.Generator().manual_seed(seed), dict(start.state)
    for name in start.graph.trained:
        step = by * torch.randn(state[name].shape, generator=generator, dtype=torch.float64)
        state[name] = state[name] + step * start.trainable.get(name, torch.ones(()))
    return TangentNetwork(start.graph, state, start.trainable)


@pytest.mark.parametrize("name", ["mlp", "mlp-batch", "w-few-fixed", "sigma", "w-resnet", "vit", "tied-gpt"])
def test_the_linearization_has_the_derivative_of_finite_differences(name: str) -> None:
    start = setting(name)
    samples = samples_of(start.graph)
    step = 1e-4
    linear, actual = linearize(start, moved_from(start, step), samples)
    # What is left is of the second order: half the step, a quarter of it.
    near, there = linearize(start, moved_from(start, step / 2), samples)
    first, second = float((linear - actual).norm()), float((near - there).norm())
    assert second == pytest.approx(first / 4, rel=0.05)
    at, value = linearize(start, start, samples)
    torch.testing.assert_close(at, value)
    assert first < 3e-2 * float((actual - value).norm())


def test_the_linearization_is_the_product_with_the_jacobian_of_the_loop() -> None:
    start = setting("w-few-fixed")
    network, samples = moved_from(start, 0.1), samples_of(start.graph)
    linear, _ = linearize(start, network, samples)
    step = [
        (network.state[n] - start.state[n])[start.trainable.get(n, torch.ones_like(start.state[n]).bool())]
        for n in start.graph.trained
    ]
    with torch.no_grad(), in_double():
        at = torch.stack([outputs(start, samples, place, {}) for place in range(len(samples))])
    torch.testing.assert_close(linear, at + jacobian(start, samples) @ torch.cat(step))


def test_a_network_that_is_linear_in_its_parameters_is_its_linearization() -> None:
    found = export(torch.nn.Linear(12, 5), exported.ROWS)
    graph = Graph(found.description)
    start = TangentNetwork(graph, found.state, {})
    linear, actual = linearize(start, moved_from(start, 1.0), samples_of(graph))
    torch.testing.assert_close(linear, actual)
    same = linearization(linear, actual, labels=True)
    assert same.mse < 1e-20 and same.cosine == pytest.approx(1) and same.agreement == 1


def test_how_far_a_linearization_is_off() -> None:
    linear = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64)
    actual = torch.tensor([[2.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
    found = linearization(linear, actual)
    assert found.mse == pytest.approx((1 + 1 + 0 + 4) / 4) and found.agreement == 0.5
    assert found.relative_error == pytest.approx((6 / 15) ** 0.5)
    assert found.cosine == pytest.approx((2 + 2 + 9 - 1) / 15)
    assert linearization(linear, actual, labels=True).agreement == 0.75
    assert linearization(linear, torch.zeros(2, 2).double()).relative_error is None


def data_of(targets: Tensor) -> Data:
    inputs = torch.arange(float(len(targets))).unsqueeze(1)
    part = Split(inputs, targets)
    return Data(part, part, part)


def test_samples_are_equally_many_of_each_class_and_the_same_for_a_seed() -> None:
    targets = torch.tensor([0] * 20 + [3] * 7 + [5] * 9)
    data = data_of(targets)
    drawn = draw_samples(data, "train", 12, seed=4)
    classes = targets[drawn.inputs.flatten().long()]
    assert classes.bincount().tolist() == [4, 0, 0, 4, 0, 4] and len(drawn.inputs.unique()) == 12
    assert drawn.inputs.dtype == torch.float64 and drawn.counted is None and not drawn.labels
    assert torch.equal(drawn.inputs, draw_samples(data, "train", 12, seed=4).inputs)
    assert not torch.equal(drawn.inputs, draw_samples(data, "train", 12, seed=5).inputs)
    labels = draw_samples(data_of(torch.rand(9, 2).round()), "test", 4, seed=0)
    assert len(labels) == 4 and labels.labels
    positions = draw_samples(data_of(torch.tensor([[1, -100]] * 5)), "test", 3, seed=0)
    assert positions.counted is not None and positions.counted.tolist() == [[True, False]] * 3


@pytest.mark.parametrize(
    ("samples", "sentence", "hint"),
    [
        (37, "the train split has 36 samples, fewer than 37", "--samples 21 at most"),
        (10, "10 samples cannot be equally many of each of 3 classes: 10 is no multiple of them", "--samples 9"),
        (24, "24 samples cannot be equally many of each of 3 classes: of the train split's rarest there are 7", None),
    ],
)
def test_samples_that_cannot_be_drawn_are_a_sentence(samples: int, sentence: str, hint: str | None) -> None:
    data = data_of(torch.tensor([0] * 20 + [3] * 7 + [5] * 9))
    with pytest.raises(UsageError) as error:
        draw_samples(data, "train", samples, seed=0)
    assert error.value.message == sentence
    assert error.value.hint == (hint or "--samples 21")
