"""States as bytes: safetensors, which holds tensors and cannot hold code."""

from __future__ import annotations

from collections.abc import Mapping

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nid_cli.errors import IntegrityError
from nid_cli.nets.functional import State


def to_bytes(state: Mapping[str, Tensor]) -> bytes:
    """The tensors as a safetensors file; equal states give equal bytes."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()})


def from_bytes(content: bytes) -> State:
    """The tensors that :func:`to_bytes` wrote.

    Raises:
        IntegrityError: not a safetensors file.
    """
    try:
        return load(content)
    except SafetensorError as error:
        raise IntegrityError(f"not a readable safetensors file: {error}") from None
