"""Vision transformers and language models: against plain modules, their symmetries, causality, and what they refuse."""

import pytest
import torch

from nid_cli.errors import UsageError
from nid_cli.nets.bounds import check, plan_of
from nid_cli.nets.functional import forward, record
from nid_cli.nets.graph import INPUT
from nid_cli.nets.interpreter import run
from nid_cli.nets.permutation import identity, permute, random
from nid_cli.nets.proof import prove
from nid_cli.nets.symmetry import constants_of, constraint, draw_fixed, initial_state, rule_of
from nid_cli.specs import Measures
from tests.nets.native import IMAGES, TOKENS, Transformer, by_our_names, drawn, graph_of

# The architecture, with what it takes beside, and the data that it reads.
NETWORKS = {
    "vit": ("vit", IMAGES, {"heads": 3, "patch": 2}),
    "tied": ("gpt", TOKENS, {"heads": 3, "tied": True}),
    "untied": ("gpt", TOKENS, {"heads": 3, "tied": False}),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def network(name: str, activation: str = "gelu", gated: bool = False):
    arch, measures, own = NETWORKS[name]
    return graph_of(arch, measures, gated, activation=activation, **own)


def module(name: str, activation: str = "gelu") -> Transformer:
    return Transformer(activation, tied={"vit": None, "tied": True, "untied": False}[name])


def inputs(name: str, dtype: torch.dtype = torch.float64, samples: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    if name != "vit":
        return torch.randint(11, (samples, 7), generator=generator)
    return torch.randn(samples, *IMAGES.shape, generator=generator, dtype=dtype)


@each_network
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_outputs_and_gradients_are_those_of_a_plain_module(
    name: str, activation: str, dtype: torch.dtype, most: float
) -> None:
    graph, theirs = network(name, activation), module(name, activation)
    state = drawn(theirs, dtype)
    assert {key: tuple(tensor.shape) for key, tensor in state.items()} == graph.parameters and not graph.buffers
    x = inputs(name, dtype)
    expected, found = theirs(x), forward(graph, state, x, training=True)
    assert found.shape == expected.shape == (3, *((7, 11) if name != "vit" else (5,)))
    by = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    (expected * by).sum().backward()
    (found * by).sum().backward()
    gradients = by_our_names(theirs, lambda parameter: parameter.grad)
    expected, found = expected.detach(), found.detach()
    for key, tensor in {**{key: own.grad for key, own in state.items()}, "": found}.items():
        other = gradients[key] if key else expected
        # The bias of keys adds the same to all scores of a query: its gradient is zero but for rounding.
        scale = max(float(other.abs().max()), 1.0 if "key.bias" in key else 0.0)
        assert float((tensor - other).abs().max()) <= 4 * most * scale, key


@each_network
def test_its_symmetries_are_one_stream_and_in_each_block_heads_what_is_in_them_and_hidden_units(name: str) -> None:
    graph = network(name)
    check(graph.description)
    labels = ["stream.1", *(f"blocks.{i}.{part}" for i in range(2) for part in PARTS)]
    assert [space.label for space in graph.spaces] == labels
    assert [space.size for space in graph.spaces] == [12, *[3, 4, 4, 48] * 2]
    heads = {space.label: space.name for space in graph.spaces if "heads" in str(space.label)}
    for space in graph.spaces:
        is_inner = str(space.label).endswith(("qk", "vo"))
        assert space.depends_on == (heads[f"{str(space.label)[:-2]}heads"] if is_inner else None)
    assert graph.symmetries.unruled == ()
    proof = prove(graph.description, {}, graph.symmetries)
    assert proof.error < 1e-12 and proof.at_fault == () and proof.moved > 0.99
    assert all(space.sites for space in graph.spaces)
    stream, hidden = graph.spaces[0], graph.spaces[4]
    assert list(stream.sites) == ["post_norm"] and list(hidden.sites) == ["post_linear", "post_activation"]


PARTS = ["attention.heads", "attention.qk", "attention.vo", "mlp.hidden"]


@each_network
def test_every_space_alone_is_a_symmetry_that_moves_weights(name: str) -> None:
    graph, state, x = network(name), drawn(module(name)), inputs(name)
    state = {key: tensor.detach() for key, tensor in state.items()}
    before, shuffle = forward(graph, state, x), random(graph.spaces, torch.Generator().manual_seed(3))
    for space in graph.spaces:
        alone = identity(graph.spaces) | {space.name: shuffle[space.name]}
        moved = permute(graph.symmetries.axes, state, alone)
        assert any(not torch.equal(moved[key], state[key]) for key in state), space.label
        torch.testing.assert_close(forward(graph, moved, x), before, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["tied", "untied"])
def test_later_tokens_change_no_earlier_output(name: str) -> None:
    graph, x = network(name), inputs(name)
    state = {key: tensor.detach() for key, tensor in drawn(module(name)).items()}
    for place in range(7):
        other = x.clone()
        other[:, place] = (other[:, place] + 1) % 11
        change = (forward(graph, state, x) - forward(graph, state, other)).abs().amax((0, 2))
        assert (change[:place] == 0).all() and (change[place:] > 0).all()


def test_layers_have_readable_labels_and_the_first_one_takes_all_of_the_input() -> None:
    vit, tied, untied = (network(name) for name in NETWORKS)
    parts = ["attention.query", "attention.key", "attention.value", "attention.output", "mlp.hidden", "mlp.output"]
    inner = [f"blocks.{i}.{part}" for i in range(2) for part in parts]
    assert [layer.label for layer in vit.weighted] == ["patches", *inner, "head"]
    for graph in (tied, untied):
        assert [layer.label for layer in graph.weighted] == [*inner, "head"] and graph.entry is None
    assert tied.layers["head"].weight == "embedding.weight" and untied.layers["head"].weight == "head.weight"
    assert vit.entry is not None and vit.entry.name == "patches" and vit.rows_of(vit.entry) == 12
    followed = {name: call.name for name, call in vit.activation_after.items() if call}
    assert followed == {f"blocks.{i}.mlp.hidden": f"blocks.{i}.mlp.activation" for i in range(2)}
    assert not vit.not_followed


@each_network
@pytest.mark.parametrize("symmetry", ["w", "syre"])
def test_every_weighted_layer_has_fixed_entries_or_an_anchor(name: str, symmetry: str) -> None:
    graph, rule = network(name), rule_of(symmetry)
    counts = tuple(layer.fan_in // 4 for layer in graph.weighted)
    kappa = tuple(0.5 + i / 10 for i in range(len(counts)))
    fixed = draw_fixed(rule, graph, counts if symmetry == "w" else None, 0)
    state, held = initial_state(rule, graph, fixed, kappa, 1), constraint(rule, graph, fixed, kappa)
    assert constants_of(graph, fixed) == {} and state.keys() == graph.parameters.keys()
    for layer, count, k in zip(graph.weighted, counts, kappa, strict=True):
        weight = state[layer.weight]
        if symmetry == "w":
            index, values = held.pinned[layer.weight]
            assert len(index) == count * layer.channels and torch.equal(weight.flatten()[index], values)
            assert torch.equal(values, k * fixed[f"{layer.name}.fixed"].flatten()[index])
        else:
            anchor = held.anchor[layer.weight]
            assert anchor.shape == weight.shape
            assert torch.equal(anchor.flatten(1), k * fixed[f"{layer.name}.noise"])


def test_tables_start_small_norms_at_one_and_a_tied_embedding_as_the_layer_that_it_is() -> None:
    big = Measures((64,), 500, "positions", vocabulary=500, positions=64)
    for tied in (True, False):
        graph = graph_of("gpt", big, width=64, depth=1, heads=4, tied=tied)
        state = initial_state(rule_of("standard"), graph, {}, None, 0)
        assert abs(float(state["positions.weight"].std()) / 0.02 - 1) < 0.05
        table = state["embedding.weight"]
        assert abs(float(table.std()) / ((3 * 64) ** -0.5 if tied else 0.02) - 1) < 0.05
        assert not tied or float(table.abs().max()) <= 64**-0.5
        assert (state["norm.weight"] == 1).all() and (state["blocks.0.norm1.bias"] == 0).all()


@each_network
def test_sigmas_gates_stand_in_the_place_of_activations(name: str) -> None:
    graph, rule, x = network(name, gated=True), rule_of("sigma"), inputs(name, torch.float32)
    fixed = draw_fixed(rule, graph, None, 0)
    assert graph.gated and fixed.keys() == graph.constants == {f"blocks.{i}.mlp.activation.gate" for i in range(2)}
    assert all(abs(float(gate.std()) * 48**0.5 - 1) < 0.1 for gate in fixed.values())
    state = initial_state(rule, graph, fixed, None, 1)
    assert not state.keys() & fixed.keys()
    values = record(
        graph, state | constants_of(graph, fixed), {INPUT: x}, ("blocks.1.mlp.hidden", "blocks.1.mlp.activation")
    )
    h = values["blocks.1.mlp.hidden"]
    gate = torch.sigmoid(torch.einsum("ntc,dc->ntd", h, fixed["blocks.1.mlp.activation.gate"]))
    torch.testing.assert_close(values["blocks.1.mlp.activation"], h * gate)


@each_network
def test_it_runs_in_float64_from_end_to_end(name: str) -> None:
    graph = network(name)
    state = {key: tensor.detach() for key, tensor in drawn(module(name)).items()}
    plan = plan_of(graph.description, torch.float64)
    found = run(plan, state, {INPUT: inputs(name)}, (graph.output,))[graph.output]
    assert found.dtype == torch.float64
    x = inputs(name).float() if name == "vit" else inputs(name)
    single = forward(graph, {key: tensor.float() for key, tensor in state.items()}, x)
    torch.testing.assert_close(single.double(), found, rtol=1e-4, atol=1e-4)


FEW = Measures((7,), 3, "classes", vocabulary=11)
FLAT = Measures((64,), 3, "classes")


@pytest.mark.parametrize(
    ("arch", "measures", "own", "says", "hint"),
    [
        ("vit", IMAGES, {"heads": 5, "patch": 2}, "5 heads do not divide a width of 12", "--heads 6"),
        ("vit", IMAGES, {"heads": 50, "patch": 2}, "50 heads do not divide a width of 12", "--heads 12"),
        ("vit", IMAGES, {"heads": 3, "patch": 4}, "patches of 4 x 4 do not divide pictures of 8 x 6", "--patch 2"),
        ("vit", FLAT, {"heads": 3, "patch": 2}, "a vit needs images", "choose another with --dataset"),
        ("vit", TOKENS, {"heads": 3, "patch": 2}, "offers tokens", "choose another with --dataset"),
        ("vit", IMAGES, {"heads": 3}, "vit needs patch", "--patch says it"),
        ("vit", IMAGES, {"heads": 3, "patch": 2, "tied": True}, "vit has no tied", "leave --tied out"),
        ("vit", IMAGES, {"heads": 3, "patch": 2, "norm": "batch"}, "unknown norm for vit", None),
        ("vit", IMAGES, {"heads": 3, "patch": 2, "activation": "gelo"}, "unknown activation", "did you mean gelu?"),
        ("gpt", TOKENS, {"heads": 7, "tied": True}, "7 heads do not divide a width of 12", "--heads 6"),
        ("gpt", IMAGES, {"heads": 3, "tied": True}, "gpt reads tokens", "choose another with --dataset"),
        ("gpt", FEW, {"heads": 3, "tied": True}, "the targets of the data set do not", "choose another with --dataset"),
        ("gpt", TOKENS._replace(outputs=4), {"heads": 3, "tied": True}, "4 outputs cannot be tied", "leave --tied out"),
        ("mlp", IMAGES, {"heads": 3}, "mlp has no heads", "leave --heads out"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(
    arch: str, measures: Measures, own: dict, says: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as refused:
        graph_of(arch, measures, **own)
    assert says in refused.value.message and refused.value.hint == hint
