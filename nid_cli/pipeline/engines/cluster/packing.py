"""Values on their way through Ray's object store, from where each process of a machine reads them in place."""

from __future__ import annotations

import io
import pickle
import sys
import warnings
from typing import Any

import numpy as np


def pack(value: Any) -> tuple[bytes, list[np.ndarray]]:
    """``value`` as a pickle, and the contents of its arrays and tensors beside it (uint8), which it refers to."""
    buffers: list[np.ndarray] = []
    file = io.BytesIO()

    def take(buffer: pickle.PickleBuffer) -> None:
        buffers.append(np.frombuffer(buffer.raw(), np.uint8))

    _Pickler(file, protocol=5, buffer_callback=take).dump(value)
    return file.getvalue(), buffers


def unpack(packed: tuple[bytes, list[np.ndarray]]) -> Any:
    """What was packed; its tensors share their memory with ``packed`` and must not be written to."""
    pickled, buffers = packed
    return pickle.loads(pickled, buffers=buffers)


class _Pickler(pickle.Pickler):
    """Has tensors travel as numpy's arrays, whose contents need not be copied."""

    def reducer_override(self, value: Any) -> Any:
        """How a tensor on the CPU is made anew; all else as ever."""
        torch = sys.modules.get("torch")
        if torch is None or type(value) is not torch.Tensor or value.layout != torch.strided:
            return NotImplemented
        if value.requires_grad or value.device.type != "cpu" or value.dtype == torch.bfloat16:
            return NotImplemented
        return _tensor, (value.contiguous().numpy(),)


def _tensor(array: np.ndarray) -> Any:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is read-only: nobody writes to data
        return torch.from_numpy(array)
