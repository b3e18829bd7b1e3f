"""ogbn-arxiv, read from a stand-in in the format of its files."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from nid_cli.data import adjacency, arxiv
from nid_cli.data.catalog import measures_of, resolve_parameters
from nid_cli.data.load import load
from nid_cli.data.tensors import Data
from nid_cli.errors import NidError, NotFoundError, UsageError
from nid_cli.specs import DataSpec

NODES = 30


class Stand(NamedTuple):
    folder: Path
    features: np.ndarray
    classes: np.ndarray
    edges: np.ndarray
    splits: dict[str, np.ndarray]

    @property
    def pairs(self) -> set[frozenset[int]]:
        return {frozenset(edge) for edge in self.edges.tolist() if edge[0] != edge[1]}

    def read(self, **given: object) -> Data:
        sizes = {"nodes": NODES, "features": 4, "classes": 3, "links": len(self.pairs)}
        return load("ogbn-arxiv", resolve_parameters("ogbn-arxiv", sizes | given), self.folder)


def write(path: Path, rows: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(map(repr, np.atleast_1d(row).tolist())) for row in rows]
    path.write_bytes(gzip.compress("\n".join([*lines, ""]).encode()))


@pytest.fixture(params=["ogbn_arxiv", "arxiv"])
def stand(tmp_path: Path, request: pytest.FixtureRequest) -> Stand:
    """A graph of 30 nodes, with links in both directions, twice, and of a node with itself."""
    random = np.random.default_rng(0)
    edges = random.integers(0, NODES, (60, 2))
    edges = np.concatenate([edges, edges[:5], edges[5:10, ::-1], [[3, 3]]])
    order = random.permutation(NODES)
    made = Stand(
        tmp_path,
        random.standard_normal((NODES, 4)).astype(np.float32),
        np.arange(NODES) % 3,
        edges,
        {"train": order[:18], "valid": order[18:25], "test": order[25:]},
    )
    root = tmp_path / request.param
    write(root / "raw/edge.csv.gz", edges)
    write(root / "raw/node-feat.csv.gz", made.features)
    write(root / "raw/node-label.csv.gz", made.classes)
    for part, nodes in made.splits.items():
        write(root / f"split/time/{part}.csv.gz", nodes)
    return made


def test_files_become_one_graph(stand: Stand) -> None:
    data = stand.read()
    assert torch.equal(data.train.inputs, torch.from_numpy(stand.features)[None])
    for name, part in (("train", "train"), ("val", "valid"), ("test", "test")):
        expected = np.full(NODES, -100)
        expected[stand.splits[part]] = stand.classes[stand.splits[part]]
        assert data.split(name).targets.tolist() == [expected.tolist()]
    linked = data.constants["adjacency"] > 0
    expected = {frozenset((i, j)) for i, j in linked.triu(1).nonzero().tolist()}
    assert expected == stand.pairs and torch.equal(linked, linked.T) and linked.diagonal().all()


def test_a_large_graph_has_the_entries_that_are_measured(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adjacency, "DENSE_NODES", 10)
    data = stand.read()
    given = resolve_parameters("ogbn-arxiv", {"nodes": NODES, "links": len(stand.pairs)})
    assert {len(tensor) for tensor in data.constants.values()} == {
        measures_of(DataSpec(name="ogbn-arxiv", parameters=given)).links
    }


def test_the_published_graph_has_its_published_size() -> None:
    measured = measures_of(DataSpec(name="ogbn-arxiv", parameters=resolve_parameters("ogbn-arxiv", {})))
    assert measured.shape == (169_343, 128) and measured.outputs == 40 and measured.positions == 169_343
    assert measured.links == 2_315_598 + 169_343


def test_what_was_read_is_kept(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    first = stand.read().fingerprint()
    with monkeypatch.context() as patch:
        patch.setattr(arxiv, "_table", lambda *_: pytest.fail("read again"))
        assert stand.read().fingerprint() == first
    [feature] = stand.folder.glob("*/raw/node-feat.csv.gz")
    write(feature, 2 * stand.features)
    assert stand.read().fingerprint() != first


def test_missing_files_are_one_sentence(stand: Stand, tmp_path: Path) -> None:
    [missing] = stand.folder.glob("*/split/time/valid.csv.gz")
    missing.unlink()
    with pytest.raises(NotFoundError, match=r"ogbn-arxiv is not there: .*valid\.csv\.gz is missing"):
        stand.read()
    with pytest.raises(NotFoundError, match=r"nowhere/ogbn_arxiv/raw/edge\.csv\.gz is missing") as caught:
        load("ogbn-arxiv", resolve_parameters("ogbn-arxiv", {}), tmp_path / "nowhere")
    assert "--data-dir" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"nodes": 31}, "has 30 nodes, not 31"),
        ({"features": 5}, "has 4 features, not 5"),
        ({"classes": 4}, "has 3 classes, not 4"),
        ({"links": 7}, r"has \d+ links, not 7"),
    ],
)
def test_other_sizes_are_one_sentence(stand: Stand, given: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        stand.read(**given)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("raw/edge.csv.gz", gzip.compress(b"0,1\n1,30\n", mtime=0)),
        ("raw/edge.csv.gz", gzip.compress(b"0,1\n-1,3\n", mtime=0)),
        ("raw/edge.csv.gz", gzip.compress(b"0\n1\n", mtime=0)),
        ("raw/edge.csv.gz", gzip.compress(b"", mtime=0)),
        ("raw/edge.csv.gz", b"no gzip"),
        ("raw/edge.csv.gz", gzip.compress(b"0,1\n" * 500, mtime=0)[:-12]),
        ("raw/node-label.csv.gz", gzip.compress(b"0\n1\n", mtime=0)),
        ("raw/node-label.csv.gz", gzip.compress(b"word\n" * 30, mtime=0)),
        ("raw/node-label.csv.gz", gzip.compress(b"-1\n" * 30, mtime=0)),
        ("raw/node-feat.csv.gz", gzip.compress(b"0,nan,0,0\n" * 30, mtime=0)),
        ("split/time/test.csv.gz", gzip.compress(b"30\n", mtime=0)),
        ("split/time/test.csv.gz", gzip.compress(b"1\n1\n", mtime=0)),
    ],
)
def test_damaged_files_are_one_sentence(stand: Stand, file: str, content: bytes) -> None:
    [root] = [path.parent for path in stand.folder.glob("*/raw")]
    (root / file).write_bytes(content)
    with pytest.raises(NidError, match=r"ogbn-arxiv in .* are damaged: .") as caught:
        stand.read()
    assert not isinstance(caught.value, NotFoundError)
