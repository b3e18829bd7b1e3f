"""ogbn-arxiv from the files that its publishers (Open Graph Benchmark) give; nothing is downloaded."""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from nid_cli.data.adjacency import constants
from nid_cli.data.cache import Tensors, cached, users_cache
from nid_cli.data.catalog import Parameters
from nid_cli.data.tensors import RawData, split_nodes
from nid_cli.errors import NidError, NotFoundError, UsageError

NAME = "ogbn-arxiv"
# As OGB's library calls the folder, and as its archive does.
FOLDERS = ("ogbn_arxiv", "arxiv")
RAW = {"edges": "raw/edge.csv.gz", "features": "raw/node-feat.csv.gz", "classes": "raw/node-label.csv.gz"}
SPLITS = {part: f"split/time/{part}.csv.gz" for part in ("train", "valid", "test")}


def load_arxiv(parameters: Parameters, folder: Path) -> RawData:
    """1 x nodes x features as they are in the files, each node's class, the split by years, and the undirected graph.

    Raises:
        NotFoundError: files are not there. UsageError: the graph is not as large as the parameters say.
        NidError: the files are damaged.
    """
    root = next((folder / name for name in FOLDERS if (folder / name).is_dir()), folder / FOLDERS[0])
    found = cached(NAME, root, users_cache(), partial(_read, root))
    features, classes, pairs = found["features"], found["classes"], found["pairs"]
    sizes = {
        "nodes": len(features),
        "features": features.shape[1],
        "links": pairs.shape[1],
        "classes": 1 + int(classes.max()),
    }
    if wrong := [name for name, size in sizes.items() if size != parameters[name]]:
        size = sizes[wrong[0]]
        raise UsageError(
            f"the graph in {root} has {size} {wrong[0]}, not {parameters[wrong[0]]}", f"--data {wrong[0]}={size}"
        )
    train, val, test = split_nodes(features, classes, [found[part] for part in SPLITS])
    return RawData(train, test, val=val, constants=constants(pairs, len(features)))


def _read(root: Path) -> Tensors:
    """Features (nodes x features), classes, pairs (2 x links, each undirected link once), the nodes of each split."""
    if missing := [name for name in (*RAW.values(), *SPLITS.values()) if not (root / name).is_file()]:
        raise NotFoundError(
            f"the data set {NAME} is not there: {root / missing[0]} is missing",
            f"put raw/ and split/ of OGB's arxiv.zip into {root}, or name the folder above it with --data-dir",
        )
    features = _table(root / RAW["features"], "float32")
    classes = _table(root / RAW["classes"], "int64").flatten()
    nodes = len(features)
    if len(classes) != nodes or not features.isfinite().all() or classes.min() < 0:
        raise _damaged(root, f"{nodes} rows of finite features and as many classes from 0 on are wanted")
    edges = _table(root / RAW["edges"], "int64")
    splits = {part: _table(root / name, "int64").flatten() for part, name in SPLITS.items()}
    if edges.shape[1] != 2 or any(bool(((own < 0) | (own >= nodes)).any()) for own in (edges, *splits.values())):
        raise _damaged(root, f"edges and splits are to name nodes from 0 to {nodes - 1}")
    split = torch.cat(list(splits.values()))
    if len(split.unique()) != len(split):
        raise _damaged(root, "a node is named twice in the splits")
    return {"features": features, "classes": classes, "pairs": _undirected(edges, nodes), **splits}


def _undirected(edges: Tensor, nodes: int) -> Tensor:
    """Distinct pairs of distinct nodes (2 x links), the smaller one first."""
    low, high = edges.min(1).values, edges.max(1).values
    codes = (low * nodes + high)[low != high].unique()
    return torch.stack([codes // nodes, codes % nodes])


def _table(path: Path, dtype: str) -> Tensor:
    """The numbers of a file without a heading: rows x columns."""
    import pandas as pd

    try:
        return torch.from_numpy(pd.read_csv(path, header=None, dtype=dtype).to_numpy().copy())
    except (ValueError, OverflowError, OSError, EOFError, zlib.error) as error:
        raise _damaged(path, (str(error).splitlines() or [type(error).__name__])[0]) from None


def _damaged(path: Path, reason: str) -> NidError:
    return NidError(f"the files of {NAME} in {path} are damaged: {reason}", "unpack OGB's arxiv.zip anew")
