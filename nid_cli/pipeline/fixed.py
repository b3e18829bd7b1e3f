"""The fixed tensors of a group on disk: one file, named by its contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_cli import files
from nid_cli.registry import artifacts
from nid_cli.registry.database import Registry
from nid_cli.registry.groups import FixedFile

if TYPE_CHECKING:
    from nid_cli.nets.functional import State


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
