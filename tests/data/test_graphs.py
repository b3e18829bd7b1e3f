"""Data sets that are one graph: the block model, and the adjacency that networks read."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from nid_cli.data import adjacency
from nid_cli.data.catalog import measures_of, resolve_parameters
from nid_cli.data.file import UNCOUNTED
from nid_cli.data.load import load
from nid_cli.data.tensors import Data, Split
from nid_cli.errors import UsageError
from nid_cli.specs import DataSpec, Measures
from tests.conftest import Run


def blocks(**given: object) -> Data:
    return load("sbm", resolve_parameters("sbm", given), Path("/nonexistent"))


def classes_of(data: Data) -> Tensor:
    return torch.stack([data.split(name).targets[0] for name in ("train", "val", "test")]).amax(0)


def test_nodes_are_split_and_the_graph_is_one() -> None:
    data = blocks()
    counted = torch.stack([data.split(name).targets[0] != UNCOUNTED for name in ("train", "val", "test")])
    assert counted.sum(1).tolist() == [300, 150, 150] and (counted.sum(0) == 1).all()
    assert data.train.inputs.shape == (1, 600, 32) and data.train.inputs.dtype == torch.float32
    assert torch.equal(data.train.inputs, data.val.inputs) and torch.equal(data.train.inputs, data.test.inputs)
    assert abs(data.train.inputs.std() - 1) < 0.05
    assert torch.bincount(classes_of(data)).tolist() == [120] * 5
    assert data.prepare(data.train.inputs).dtype == torch.float32


@pytest.mark.parametrize(("nodes", "links"), [(8, 1), (8, 28), (60, 100), (600, 2400)])
def test_exactly_so_many_links_are_drawn(nodes: int, links: int) -> None:
    data = blocks(nodes=nodes, links=links)
    matrix = data.constants["adjacency"]
    linked = matrix > 0
    assert torch.equal(linked, linked.T) and linked.diagonal().all()
    spec = DataSpec(name="sbm", parameters=resolve_parameters("sbm", {"nodes": nodes, "links": links}))
    assert int(linked.sum()) == 2 * links + nodes == measures_of(spec).links
    assert measures_of(spec) == Measures((nodes, 32), 5, "positions", positions=nodes, links=2 * links + nodes)
    for i in range(0, nodes, 7):
        for j in range(0, nodes, 5):
            expected = float(linked[i, j]) / (int(linked[i].sum()) * int(linked[j].sum())) ** 0.5
            assert abs(float(matrix[i, j]) - expected) < 1e-6


@pytest.mark.parametrize("ratio", [1.0, 6.0])
def test_links_are_more_frequent_within_a_class(ratio: float) -> None:
    data = blocks(nodes=1500, links=12_000, ratio=ratio)
    classes, linked = classes_of(data), (data.constants["adjacency"] > 0).triu(1)
    same = (classes[:, None] == classes).triu(1)
    other = (classes[:, None] != classes).triu(1)
    found = float(linked[same].float().mean() / linked[other].float().mean())
    # About 2,400 and 9,600 links, or more evenly: the ratio's standard deviation is some 2 %.
    assert abs(found / ratio - 1) < 0.1


def test_neighbours_tell_what_features_alone_do_not() -> None:
    data = blocks()
    classes, x = classes_of(data), data.train.inputs[0].double()
    matrix = data.constants["adjacency"].double()
    train, test = (data.split(name).targets[0] != UNCOUNTED for name in ("train", "test"))

    def accuracy(features: Tensor) -> float:
        """Of ridge regression onto the classes, in percent."""
        known, wanted = features[train], torch.eye(5, dtype=torch.float64)[classes[train]]
        weight = torch.linalg.solve(known.T @ known + torch.eye(32), known.T @ wanted)
        return 100 * float(((features[test] @ weight).argmax(1) == classes[test]).double().mean())

    assert 35 < accuracy(x) < 65 and accuracy(matrix @ matrix @ x) > 85


def test_a_large_graph_is_a_list_of_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = blocks(nodes=50, links=80).constants["adjacency"]
    monkeypatch.setattr(adjacency, "DENSE_NODES", 49)
    sparse = blocks(nodes=50, links=80).constants
    assert {name: (tensor.dtype, len(tensor)) for name, tensor in sparse.items()} == {
        "edges.source": (torch.int64, 210),
        "edges.target": (torch.int64, 210),
        "edges.weight": (torch.float32, 210),
    }
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    messages = sparse["edges.weight"][:, None] * x[sparse["edges.source"]]
    out = torch.zeros(50, 3).index_add_(0, sparse["edges.target"], messages)
    assert torch.allclose(out, dense @ x, atol=1e-6)


def test_a_direction_is_from_source_to_target(monkeypatch: pytest.MonkeyPatch) -> None:
    found = adjacency.constants(torch.tensor([[0, 0], [1, 2]]), 3)["adjacency"]
    third, sixth = 1 / 3, 6**-0.5
    expected = torch.tensor([[third, sixth, sixth], [sixth, 0.5, 0], [sixth, 0, 0.5]])
    assert torch.allclose(found, expected)
    monkeypatch.setattr(adjacency, "DENSE_NODES", 2)
    edges = adjacency.constants(torch.tensor([[0, 0], [1, 2]]), 3)
    assert edges["edges.target"].tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert edges["edges.source"].tolist() == [0, 1, 2, 0, 1, 0, 2]


def test_constants_are_part_of_the_data() -> None:
    split = Split(torch.arange(6.0).view(2, 3), torch.tensor([0, 1]))
    plain = Data(split, split, split)
    # What data without constants were known by before there were constants.
    assert plain.fingerprint() == "24fe954df7f4787c0530fadb6d7e8fa7d4deec6687c8f9c7b8adef5826f6502c"
    one = torch.eye(2)
    prints = {
        Data(split, split, split, constants=own).fingerprint()
        for own in ({}, {"a": one}, {"b": one}, {"a": 2 * one}, {"a": one, "b": one}, {"a": one.long()})
    }
    assert len(prints) == 6
    reordered = [
        Data(split, split, split, constants=own) for own in ({"a": one, "b": 2 * one}, {"b": 2 * one, "a": one})
    ]
    assert reordered[0].fingerprint() == reordered[1].fingerprint()
    moved = Data(split, split, split, constants={"a": one}).to(torch.device("meta"))
    assert moved.constants["a"].device.type == moved.test.inputs.device.type == "meta"
    assert Data(split, split, split, constants={"a": one}).share_memory().constants["a"].is_shared()


def test_seeds_draw_other_graphs() -> None:
    small = {"nodes": 40, "links": 60}
    one, again, other = blocks(**small), blocks(**small), blocks(**small, seed=1)
    assert torch.equal(one.constants["adjacency"], again.constants["adjacency"])
    assert not torch.equal(one.constants["adjacency"], other.constants["adjacency"])
    assert one.fingerprint() == again.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"links": 30, "nodes": 8}, "8 nodes have between 1 and 28 links, not 30"),
        ({"nodes": 6000}, "nodes must lie between 8 and 5000"),
        ({"classes": 1}, "classes must lie between 2"),
        ({"ratio": 0}, "ratio must lie above 0"),
        ({"features": 0}, "features must be at least 1"),
    ],
)
def test_graphs_that_cannot_be_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve_parameters("sbm", given)
    with pytest.raises(UsageError, match=r"choose from nodes, classes, features, links, ratio, noise, seed$"):
        resolve_parameters("sbm", {"sizes": 3})


@pytest.mark.parametrize("given", ["train-size=100", "val-share=0.2"])
@pytest.mark.parametrize("name", ["sbm", "ogbn-arxiv"])
def test_the_split_of_nodes_is_given(nid: Run, tmp_path: Path, name: str, given: str) -> None:
    done = nid("train", "--dataset", name, "--data", given)
    assert done.returncode == 2 and f"{name} is one graph whose nodes are split already" in done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / ".nid").exists()
