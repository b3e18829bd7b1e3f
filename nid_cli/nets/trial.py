"""Runs a module once before it is taken in: what it puts out, and whether it draws at random."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nid_cli.errors import UsageError

# What a module that puts out several values by name calls the one that counts.
MAIN_OUTPUTS = ("logits", "out", "sample", "last_hidden_state")


def try_out(module: nn.Module, given: tuple[Tensor, ...], notes: list[str]) -> Callable[[Any], Any]:
    """Runs the module twice on an example; the function that takes the one tensor out of what it puts out."""
    with torch.no_grad():
        try:
            before = _dice()
            first = module(*(x.clone() for x in given))
            second = module(*(x.clone() for x in given)) if _dice() != before else first
        except Exception as error:
            shapes = ", ".join("x".join(map(str, x.shape[1:])) or "single numbers" for x in given)
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UsageError(
                f"the network does not run on inputs of {shapes}; it says: {said[:200]}",
                "a sample is as the data set, or --input, says",
            ) from error
    pick, name = _pick(first)
    if name:
        notes.append(f"of the several values that the network puts out, {name} is taken")
    one, two = pick(first), pick(second)
    if not torch.equal(torch.nan_to_num(one), torch.nan_to_num(two)):
        raise UsageError(
            "the network is random in evaluation: two runs on the same inputs differ",
            "draw at random in training only (if self.training)",
        )
    if not one.is_floating_point():
        raise UsageError(f"the network puts out {one.dtype}, not floating-point numbers")
    if one.ndim == 0 or one.shape[0] % len(given[0]):
        raise UsageError("the network's output does not have the samples first", "no mean over the samples in forward")
    return pick


def only_tensor(output: Any) -> Any:
    """The one tensor of what a module puts out."""
    return _pick(output)[0](output)


def left_out(module: nn.Module, given: tuple[Tensor, ...]) -> list[str]:
    """A sentence where training draws at random in another way than by dropout layers: the trace does not show it."""
    kept = {buffer: buffer.clone() for buffer in module.buffers()}
    for part in module.modules():
        part.training = not isinstance(part, nn.MultiheadAttention | nn.modules.dropout._DropoutNd)
    before = _dice()
    try:
        with torch.no_grad():
            module(*(x.clone() for x in given))
    except Exception:
        return ["the module does not run in training here; nid trains what it does in evaluation"]
    finally:
        module.eval()
        for buffer, value in kept.items():
            buffer.data.copy_(value)
    if _dice() == before:
        return []
    return ["in training the module draws at random by other means than dropout layers; under nid it does not"]


def _dice() -> tuple[bytes, object]:
    """The state of the random generators: unchanged, nothing was drawn."""
    return torch.get_rng_state().numpy().tobytes(), random.getstate()


def _pick(output: Any) -> tuple[Callable[[Any], Any], str]:
    """How the one tensor is taken out of an output, and its name ("" for a tensor)."""
    if isinstance(output, Tensor):
        return lambda value: value, ""
    named = _named(output)
    tensors = [name for name, value in named.items() if value is not None]
    name = next((main for main in MAIN_OUTPUTS if main in tensors), tensors[0] if len(tensors) == 1 else None)
    if name is None or not isinstance(named[name], Tensor):
        kind = type(output).__name__
        raise UsageError(
            f"the network puts out a {kind}, not one tensor",
            "give a module whose forward returns the tensor that counts, or a dictionary with logits, out or sample",
        )
    return lambda value: _named(value)[name], name


def _named(output: Any) -> dict[str, Any]:
    if isinstance(output, Mapping):
        return dict(output)
    if hasattr(output, "_asdict"):
        return dict(output._asdict())
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {own.name: getattr(output, own.name) for own in dataclasses.fields(output)}
    return {}
