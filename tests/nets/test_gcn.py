"""Graph networks, with their adjacency as a matrix and as edges: against a walk from node to node."""

from dataclasses import replace

import pytest
import torch

from nid_cli.data.tensors import Data, Split
from nid_cli.errors import IntegrityError, UsageError
from nid_cli.nets import gcn
from nid_cli.nets.bounds import check
from nid_cli.nets.functional import forward, record
from nid_cli.nets.graph import INPUT, SITES
from nid_cli.nets.permutation import identity, permute, random
from nid_cli.nets.proof import prove
from nid_cli.nets.symmetry import Constraint, constants_of, constraint, draw_fixed, initial_state, rule_of
from nid_cli.specs import Measures
from nid_cli.training.loop import Snapshot, train_model
from tests.conftest import small_spec
from tests.nets.native import IMAGES, Convolutions, by_our_names, drawn, edges, graph_of

NODES, FEATURES, CLASSES = 9, 4, 5
MATRIX, EDGES = edges(NODES)
MEASURES = Measures((NODES, FEATURES), CLASSES, "positions", positions=NODES, links=len(EDGES["edges.weight"]))


@pytest.fixture(params=["dense", "sparse"])
def constants(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """What the data give; where it is edges, graphs of so few nodes have theirs as edges."""
    if request.param == "dense":
        return {"adjacency": MATRIX}
    monkeypatch.setattr(gcn, "DENSE_NODES", NODES - 1)
    return EDGES


def network(norm: str = "layer", gated: bool = False, depth: int = 3):
    return graph_of("gcn", MEASURES, gated, norm=norm, depth=depth, activation="relu", width=8)


def in_float64(constants: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: own.double() if own.is_floating_point() else own for key, own in constants.items()}


def features(samples: int = 1) -> torch.Tensor:
    return torch.randn(samples, NODES, FEATURES, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("samples", [1, 2])
def test_outputs_gradients_and_statistics_are_those_of_a_walk_over_the_nodes(
    constants: dict[str, torch.Tensor], norm: str, depth: int, samples: int
) -> None:
    graph, x = network(norm, depth=depth), features(samples)
    theirs = Convolutions(norm, MATRIX.double(), FEATURES, 8, depth, CLASSES)
    state = drawn(theirs)
    assert {key: tuple(own.shape) for key, own in state.items()} == graph.parameters
    assert graph.constants == constants.keys() and not graph.buffers.keys() & graph.constants
    held = {
        key: (torch.ones if key.endswith("var") else torch.zeros)(shape).double()
        for key, shape in graph.buffers.items()
    }
    full = state | held | in_float64(constants)
    for training in (True, False):
        theirs.train(training).zero_grad()
        for tensor in state.values():
            tensor.grad = None
        expected, found = theirs(x), forward(graph, full, x, training)
        by = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        (expected * by).sum().backward()
        (found * by).sum().backward()
        for key, gradient in by_our_names(theirs, lambda parameter: parameter.grad).items():
            torch.testing.assert_close(state[key].grad, gradient, rtol=1e-11, atol=1e-11)
    for key, buffer in theirs.named_buffers():
        if key in held:
            torch.testing.assert_close(held[key], buffer)


@pytest.mark.parametrize("norm", ["layer", "batch", "none"])
def test_its_symmetries_are_the_hidden_channels(constants: dict[str, torch.Tensor], norm: str) -> None:
    graph = network(norm)
    check(graph.description)
    assert [(space.label, space.size, space.depends_on) for space in graph.spaces] == [
        ("conv.0", 8, None),
        ("conv.1", 8, None),
    ]
    sites = SITES if norm != "none" else (SITES[0], SITES[2])
    assert all(tuple(space.sites) == sites for space in graph.spaces) and graph.symmetries.unruled == ()
    proof = prove(graph.description, constants, graph.symmetries)
    assert proof.error < 1e-12 and proof.at_fault == ()
    state = {key: own.detach() for key, own in drawn(Convolutions(norm, MATRIX, FEATURES, 8, 3, CLASSES)).items()}
    state |= {key: torch.rand(shape).double() + 0.5 for key, shape in graph.buffers.items()} | in_float64(constants)
    before, shuffle = forward(graph, state, features()), random(graph.spaces, torch.Generator().manual_seed(3))
    for space in graph.spaces:
        moved = permute(graph.symmetries.axes, state, identity(graph.spaces) | {space.name: shuffle[space.name]})
        assert not torch.equal(moved[f"{space.name}.weight"], state[f"{space.name}.weight"])
        assert all(torch.equal(moved[key], state[key]) for key in constants)
        torch.testing.assert_close(forward(graph, moved, features()), before, rtol=1e-12, atol=1e-12)


def test_layers_see_what_is_gathered_and_the_first_one_takes_all_of_the_input(
    constants: dict[str, torch.Tensor],
) -> None:
    graph = network()
    assert [(layer.label, layer.channels, layer.fan_in) for layer in graph.weighted] == [
        ("conv.0", 8, FEATURES),
        ("conv.1", 8, 8),
        ("conv.2", CLASSES, 8),
    ]
    assert graph.entry is graph.weighted[0] and graph.rows_of(graph.entry) == NODES
    assert {name: call and call.name for name, call in graph.activation_after.items()} == {
        "conv.0": "activation.0",
        "conv.1": "activation.1",
        "conv.2": None,
    }
    x = features()
    state = {key: own.detach() for key, own in drawn(Convolutions("layer", MATRIX, FEATURES, 8, 3, CLASSES)).items()}
    seen = record(graph, state | in_float64(constants), {INPUT: x}, (graph.weighted[0].source,))
    torch.testing.assert_close(seen[graph.weighted[0].source][0], MATRIX.double() @ x[0])


def test_graphs_of_more_than_2048_nodes_have_edges() -> None:
    few, many = (
        graph_of("gcn", Measures((nodes, 3), 2, "positions", positions=nodes, links=7)) for nodes in (2048, 2049)
    )
    assert few.constants == {"adjacency"} and few.description.buffers["adjacency"].shape == (2048, 2048)
    assert {key: (own.shape, own.dtype) for key, own in many.description.buffers.items()} == {
        "edges.source": ((7,), "int64"),
        "edges.target": ((7,), "int64"),
        "edges.weight": ((7,), "float32"),
    }


@pytest.mark.parametrize("symmetry", ["standard", "w", "syre", "sigma"])
def test_constants_of_the_data_are_beside_what_a_symmetry_type_fixes(
    constants: dict[str, torch.Tensor], symmetry: str
) -> None:
    gated, rule = symmetry == "sigma", rule_of(symmetry)
    graph = network(gated=gated)
    assert graph.gated == gated
    fixed = draw_fixed(rule, graph, (1, 2, 4) if symmetry == "w" else None, 0) | constants
    gates = {f"activation.{i}.gate" for i in range(2)} if gated else set()
    found = constants_of(graph, fixed)
    assert found.keys() == graph.constants == constants.keys() | gates
    assert all(found[key] is fixed[key] for key in found)
    kappa = (1.0, 0.5, 2.0)
    state, held = initial_state(rule, graph, fixed, kappa, 1), constraint(rule, graph, fixed, kappa)
    assert state.keys() == graph.parameters.keys()
    layers = {layer.weight for layer in graph.weighted}
    assert held.pinned.keys() == (layers if symmetry == "w" else set())
    assert held.anchor.keys() == (layers if symmetry == "syre" else set())
    full = state | found
    assert forward(graph, full, features().float()).shape == (1, NODES, CLASSES)
    if gated:
        values = record(graph, full, {INPUT: features(2).float()}, ("norm.0", "activation.0"))
        gate = torch.sigmoid(torch.einsum("nvc,dc->nvd", values["norm.0"], fixed["activation.0.gate"]))
        torch.testing.assert_close(values["activation.0"], values["norm.0"] * gate)
    with pytest.raises(IntegrityError, match="lack"):
        constants_of(graph, {key: own for key, own in fixed.items() if key not in constants})


def test_a_training_set_of_one_graph_is_a_batch_even_under_batch_norms(constants: dict[str, torch.Tensor]) -> None:
    graph, rule = network("batch"), rule_of("standard")
    split = Split(features().float(), torch.arange(NODES).remainder(CLASSES)[None])
    data = Data(split, split, split)
    start = Snapshot(0, initial_state(rule, graph, {}, None, 1))
    spec = replace(small_spec(epochs=2), batch_size=2)
    epochs = []
    for epoch in train_model(graph, spec, data, Constraint(), constants, start, order_seed=3):
        epochs.append((epoch.metrics["test"].loss, epoch.snapshot.state["conv.0.weight"].clone()))
        assert not epoch.snapshot.state.keys() & constants.keys()
    assert len(epochs) == 3 and len({loss for loss, _ in epochs}) == 3
    assert not torch.equal(epochs[0][1], epochs[2][1])


@pytest.mark.parametrize(
    ("measures", "own", "says"),
    [
        (IMAGES, {}, "gcn reads nodes"),
        (MEASURES._replace(targets="classes", positions=None), {}, "the targets of the data set do not"),
        (MEASURES._replace(positions=4), {}, "the targets of the data set do not"),
        (MEASURES._replace(shape=(NODES, 3, 2)), {}, "a gcn needs the nodes of a graph"),
        (MEASURES, {"depth": 1}, "depth >= 2"),
        (MEASURES, {"norm": "group"}, "unknown norm for gcn"),
        (MEASURES, {"heads": 2}, "gcn has no heads"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(measures: Measures, own: dict, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        graph_of("gcn", measures, **own)
    assert says in refused.value.message
