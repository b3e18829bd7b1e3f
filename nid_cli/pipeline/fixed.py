"""The fixed tensors of a group: drawn, and on disk as one file that is named by its contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_cli import files
from nid_cli.graphs import graph_of
from nid_cli.registry import artifacts
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import FixedFile, group_key
from nid_cli.specs import RunSpec, derive_seed

if TYPE_CHECKING:
    from nid_cli.data.tensors import Data
    from nid_cli.nets.functional import State


def draw(spec: RunSpec, description: str | None, data: Data) -> State:
    """The fixed tensors of a run's group, with what its network reads of the data's constants.

    Args:
        description: the text of a network of the user's own.
    """
    from nid_cli.nets.symmetry import draw_fixed, rule_of

    graph = graph_of(spec, description)
    drawn = draw_fixed(rule_of(spec.symmetry.name), graph, spec.symmetry.num_fixed, mask_seed(spec))
    return drawn | {name: data.constants[name] for name in graph.constants - drawn.keys()}


def key_of(spec: RunSpec, fixed: State) -> str:
    """The identity of the group that has these settings and fixed tensors."""
    from nid_cli.nets.symmetry import fixed_hash

    return group_key(spec, fixed_hash(fixed))


def mask_seed(spec: RunSpec) -> int:
    """The seed of a run's fixed tensors."""
    assert spec.seed is not None
    return derive_seed(spec.seed, "mask")


def write_fixed(registry: Registry, tensors: State) -> FixedFile | None:
    """Writes the tensors where they are not on disk yet; None where nothing is fixed."""
    from nid_cli.nets.storage import to_bytes
    from nid_cli.nets.symmetry import fixed_hash

    if (digest := fixed_hash(tensors)) is None:
        return None
    content, relative = to_bytes(tensors), f"fixed/{digest[:16]}.safetensors"
    sha256 = files.sha256(content)
    if artifacts.read_if(registry.file(relative), sha256) is None:
        files.write_atomic(registry.file(relative), content)
    return FixedFile(digest, relative, sha256)
