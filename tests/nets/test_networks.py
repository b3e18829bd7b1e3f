"""Networks against torch's own modules, symmetry types against their definitions, permutations by their property."""

import pytest
import torch
from torch import nn

from nid_cli.graphs import graph_of
from nid_cli.nets.axes import Leaf, Pinned
from nid_cli.nets.functional import forward, record
from nid_cli.nets.graph import INPUT, SITES
from nid_cli.nets.mlp import mlp
from nid_cli.nets.permutation import identity, inverse, permute, random
from nid_cli.nets.storage import from_bytes, to_bytes
from nid_cli.nets.symmetry import constants_of, constraint, draw_fixed, fixed_hash, initial_state, rule_of
from nid_cli.specs import SYMMETRIES, Measures
from tests.conftest import small_spec


def network(norm: str = "layer", activation: str = "gelu", gated: bool = False):
    graph = mlp(Measures((7,), 3, "classes"), width=6, depth=4, norm=norm, activation=activation, gated=gated)
    generator = torch.Generator().manual_seed(1)
    shapes = graph.parameters | graph.buffers | {gate.tensor: (gate.channels,) * 2 for gate in graph.gates}
    state = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return graph, state | {name: torch.rand(graph.buffers[name]) + 0.5 for name in graph.buffers if "var" in name}


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
@pytest.mark.parametrize("activation", ["gelu", "relu", "identity"])
def test_forward_equals_torchs_modules(norm: str, activation: str) -> None:
    graph, state = network(norm, activation)
    modules: list[nn.Module] = []
    for i in range(4):
        linear = nn.Linear(*state[f"linear.{i}.weight"].T.shape)
        linear.load_state_dict({k: state[f"linear.{i}.{k}"] for k in ("weight", "bias")})
        modules.append(linear)
        if i == 3:
            break
        if norm != "none":
            own = nn.LayerNorm(6) if norm == "layer" else nn.BatchNorm1d(6)
            names = [n for n in own.state_dict() if n != "num_batches_tracked"]
            own.load_state_dict({n: state[f"norm.{i}.{n}"] for n in names}, strict=False)
            modules.append(own)
        modules.append({"gelu": nn.GELU(), "relu": nn.ReLU(), "identity": nn.Identity()}[activation])
    x = torch.randn(5, 7)
    torch.testing.assert_close(forward(graph, state, x), nn.Sequential(*modules).eval()(x))


def test_sigma_gate_is_x_times_sigmoid_of_Cx() -> None:
    graph, state = network(gated=True)
    x = torch.randn(5, 7)
    values = record(graph, state, {INPUT: x}, ("norm.1", "activation.1"))
    normed = values["norm.1"]
    torch.testing.assert_close(values["activation.1"], normed * torch.sigmoid(normed @ state["activation.1.gate"].T))


def test_record_starts_from_given_values() -> None:
    graph, state = network()
    x = torch.randn(5, 7)
    first = record(graph, state, {INPUT: x}, ("linear.0",))
    torch.testing.assert_close(record(graph, state, first, ("linear.3",))["linear.3"], forward(graph, state, x))


@pytest.mark.parametrize(
    ("arch", "norm", "depth"),
    [("mlp", "layer", 4), ("mlp", "batch", 3), ("mlp", "none", 5)]
    + [("resnet", norm, depth) for norm in ("group", "batch") for depth in (8, 20, 56)]
    + [("resnet", "batch", 110)],
)
@pytest.mark.parametrize("symmetry", ["standard", "w", "syre"])
def test_a_permutation_leaves_the_function_unchanged_and_its_inverse_undoes_it(
    arch: str, norm: str, depth: int, symmetry: str
) -> None:
    graph, state, x = random_network(arch, norm, depth, symmetry)
    axes, before = graph.symmetries.axes, forward(graph, state, x)
    for seed in range(2):
        shuffle = random(graph.spaces, torch.Generator().manual_seed(seed))
        shuffled = permute(axes, state, shuffle)
        assert all(not torch.equal(shuffled[name], state[name]) for name in axes if "bias" not in name)
        torch.testing.assert_close(forward(graph, shuffled, x), before)
        restored = permute(axes, shuffled, inverse(graph.spaces, shuffle))
        assert all(torch.equal(restored[name], state[name]) for name in state)
    same = permute(axes, state, identity(graph.spaces))
    assert all(torch.equal(same[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("arch", "norm", "depth"), [("mlp", "layer", 4), ("resnet", "group", 8), ("resnet", "batch", 20)]
)
def test_a_permutation_changes_a_sigma_network(arch: str, norm: str, depth: int) -> None:
    graph, state, x = random_network(arch, norm, depth, "sigma")
    flipped = {s.name: torch.arange(s.size).flip(0) for s in graph.spaces}
    shuffled = permute(graph.symmetries.axes, state, flipped)
    assert graph.gated and not torch.allclose(forward(graph, shuffled, x), forward(graph, state, x), rtol=1e-2)


def random_network(arch: str, norm: str, depth: int, symmetry: str):
    """A network of the symmetry type in float64, away from its initialization: norms and statistics are random too."""
    spec = small_spec(arch=arch, norm=norm, depth=depth, width=1 if arch == "resnet" else 6, symmetry=symmetry)
    kind, graph = rule_of(symmetry), graph_of(spec)
    fixed = draw_fixed(kind, graph, spec.symmetry.num_fixed, 0)
    state = {
        n: t.double()
        for n, t in (initial_state(kind, graph, fixed, spec.symmetry.kappa, 1) | constants_of(graph, fixed)).items()
    }
    generator = torch.Generator().manual_seed(2)
    for name in [n for n in state if "norm" in n]:
        state[name] = torch.rand(state[name].shape, generator=generator, dtype=torch.float64) + 0.5
    return graph, state, torch.randn(9, *graph.input_shape, generator=generator, dtype=torch.float64)


def test_residual_streams_share_one_permutation_and_pool_their_activations() -> None:
    graph = graph_of(small_spec(arch="resnet", norm="group", width=1, depth=20))
    streams = {s.label: s for s in graph.spaces if str(s.label).startswith("stream")}
    assert list(streams) == ["stream.1", "stream.2", "stream.3"] and len(graph.spaces) == 3 + 9
    assert [len(s.sites["post_activation"]) for s in streams.values()] == [4, 3, 3]
    assert all(list(s.sites) == ["post_activation"] for s in streams.values())
    inner = next(s for s in graph.spaces if s.label == "stage2.1")
    assert tuple(inner.sites) == SITES and inner.size == 32
    outer, wide = streams["stream.1"], streams["stream.2"]
    axes, pixel = graph.symmetries.axes, Pinned(3)
    assert axes["stage2.0.conv1.weight"] == (Leaf(inner_of(graph, "stage2.0"), 32), Leaf(outer.name, 16), pixel, pixel)
    assert axes["stage2.0.shortcut.conv.weight"] == (Leaf(wide.name, 32), Leaf(outer.name, 16), Pinned(1), Pinned(1))
    assert axes["linear.weight"] == (Pinned(10), Leaf(streams["stream.3"].name, 64))


def inner_of(graph, label: str) -> str:
    return next(space.name for space in graph.spaces if space.label == label)


def test_a_resnet_equals_torchs_modules() -> None:
    graph, state, _ = random_network("resnet", "batch", 8, "standard")
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)

    def normed(name: str, values: torch.Tensor) -> torch.Tensor:
        own = nn.BatchNorm2d(values.shape[1]).double().eval()
        own.load_state_dict(
            {k: state[f"{name}.{k}"] for k in own.state_dict() if k != "num_batches_tracked"}, strict=False
        )
        return own(values)

    def conv(name: str, values: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        own = nn.Conv2d(
            weight.shape[1], len(weight), weight.shape[2], stride, weight.shape[2] // 2, bias=False
        ).double()
        own.load_state_dict({"weight": weight})
        return own(values)

    h = torch.relu(normed("stem.norm", conv("stem.conv", x)))
    for stage, stride in ((1, 1), (2, 2), (3, 2)):
        b = f"stage{stage}.0"
        inner = torch.relu(normed(f"{b}.norm1", conv(f"{b}.conv1", h, stride)))
        short = h if stride == 1 else normed(f"{b}.shortcut.norm", conv(f"{b}.shortcut.conv", h, stride))
        h = torch.relu(normed(f"{b}.norm2", conv(f"{b}.conv2", inner)) + short)
    expected = h.mean((2, 3)) @ state["linear.weight"].T + state["linear.bias"]
    torch.testing.assert_close(forward(graph, state, x), expected)


def test_spaces_and_recording_points() -> None:
    graph, _ = network()
    assert [s.name for s in graph.spaces] == ["linear.0", "linear.1", "linear.2"]
    assert all(tuple(s.sites) == SITES for s in graph.spaces)
    axes = graph.symmetries.axes
    assert axes["linear.0.weight"] == (Leaf("linear.0", 6), Pinned(7))
    assert axes["linear.3.weight"] == (Pinned(3), Leaf("linear.2", 6))
    assert axes["norm.1.bias"] == (Leaf("linear.1", 6),) and axes["linear.3.bias"] == (Pinned(3),)


def test_masks_have_exactly_num_fixed_zeros_a_row_and_are_shared_by_seed() -> None:
    spec = small_spec(symmetry="w", num_fixed=[9, 5, 3], kappa=[1, 0.5, 2])
    kind, graph = rule_of("w"), graph_of(spec)
    fixed = draw_fixed(kind, graph, spec.symmetry.num_fixed, 0)
    again, other = (
        draw_fixed(kind, graph, spec.symmetry.num_fixed, 0),
        draw_fixed(kind, graph, spec.symmetry.num_fixed, 1),
    )
    assert fixed_hash(fixed) == fixed_hash(again) != fixed_hash(other)
    for op, count, kappa in zip(graph.weighted, spec.symmetry.num_fixed, spec.symmetry.kappa, strict=True):
        mask, values = fixed[f"{op.name}.mask"], fixed[f"{op.name}.fixed"]
        assert ((~mask).sum(1) == count).all() and (values[mask] == 0).all()
        assert abs(values[~mask].std().item() - 1) < 0.5
        weight = initial_state(kind, graph, fixed, spec.symmetry.kappa, 5)[f"{op.name}.weight"]
        assert torch.equal(weight[~mask], kappa * values[~mask])
        assert abs(weight[mask].std().item() * op.fan_in**0.5 - 1) < 0.3


def test_syre_adds_its_noise_with_each_layers_own_kappa() -> None:
    spec = small_spec(symmetry="syre", kappa=[1, 0.5, 2])
    kind, graph = rule_of("syre"), graph_of(spec)
    fixed = draw_fixed(kind, graph, None, 0)
    with_noise = initial_state(kind, graph, fixed, spec.symmetry.kappa, 5)
    without = initial_state(kind, graph, fixed, (0.0, 0.0, 0.0), 5)
    for op, kappa in zip(graph.weighted, spec.symmetry.kappa, strict=True):
        difference = with_noise[f"{op.name}.weight"] - without[f"{op.name}.weight"]
        torch.testing.assert_close(difference, kappa * fixed[f"{op.name}.noise"])


@pytest.mark.parametrize("symmetry", list(SYMMETRIES))
def test_initialization_has_the_papers_spread(symmetry: str) -> None:
    spec = small_spec(symmetry=symmetry, width=200, kappa=0 if "kappa" in SYMMETRIES[symmetry].settings else None)
    kind, graph = rule_of(symmetry), graph_of(spec)
    fixed = draw_fixed(kind, graph, spec.symmetry.num_fixed, 0)
    state = initial_state(kind, graph, fixed, spec.symmetry.kappa, 3)
    weight, d = state["linear.1.weight"], 200
    free = weight[fixed["linear.1.mask"]] if symmetry == "w" else weight
    expected = d**-0.5 if kind.normal_init else (3 * d) ** -0.5
    assert abs(free.std().item() / expected - 1) < 0.05
    assert (free.abs().max() <= d**-0.5) != kind.normal_init
    assert (constants_of(graph, fixed) == {}) == (symmetry != "sigma")
    assert not torch.equal(initial_state(kind, graph, fixed, spec.symmetry.kappa, 4)["linear.1.weight"], weight)


def test_storage_is_deterministic_and_refuses_other_files() -> None:
    from nid_cli.errors import IntegrityError

    _, state = network()
    content = to_bytes(state)
    assert content == to_bytes(dict(reversed(state.items())))
    assert all(torch.equal(tensor, state[name]) for name, tensor in from_bytes(content).items())
    with pytest.raises(IntegrityError):
        from_bytes(b"\xff" * 100)


def test_constraints_speak_of_the_right_entries() -> None:
    spec = small_spec(symmetry="w", kappa=[1, 2, 3])
    kind, graph = rule_of("w"), graph_of(spec)
    fixed = draw_fixed(kind, graph, spec.symmetry.num_fixed, 0)
    state = initial_state(kind, graph, fixed, spec.symmetry.kappa, 5)
    for name, (index, values) in constraint(kind, graph, fixed, spec.symmetry.kappa).pinned.items():
        assert torch.equal(state[name].flatten()[index], values)
