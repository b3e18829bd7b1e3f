"""State dictionaries of the user's own training: read without running code, and fitted to a network's tensors."""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nid_cli.errors import IntegrityError, NotFoundError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from nid_cli.nets import Graph
    from nid_cli.nets.description import Description

ENDINGS = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
SOME = 5


def read_state(path: Path, key: str | None) -> tuple[dict[str, Tensor], bytes]:
    """The state dictionary in a file, and the file's bytes.

    Args:
        key: of the dictionary within the file's dictionary.

    Raises:
        NotFoundError: no such file. UsageError: it holds no state dictionary, or more than tensors.
    """
    if path.suffix not in ENDINGS:
        raise UsageError(f"{path} ends in none of {', '.join(ENDINGS)}", "such files hold state dictionaries")
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    content = path.read_bytes()
    found = _safetensors(path, content) if path.suffix == ".safetensors" else _pickled(path, content)
    return _chosen(path, found, key), content


def _safetensors(path: Path, content: bytes) -> Any:
    from nid_cli.nets.storage import from_bytes

    try:
        return from_bytes(content)
    except IntegrityError as error:
        raise UsageError(f"{path} is {error.message}") from None


def _pickled(path: Path, content: bytes) -> Any:
    import torch

    try:
        with warnings.catch_warnings(action="ignore"):
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UsageError(
            f"{path} holds more than tensors (or is damaged): it is not loaded, since it could run code",
            "save the state dictionary alone: torch.save(model.state_dict(), FILE)",
        ) from None
    except Exception as error:  # torch's reader may raise anything
        said = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise UsageError(f"{path} is truncated or damaged: {said}") from None


def _chosen(path: Path, found: Any, key: str | None) -> dict[str, Tensor]:
    import torch

    if not isinstance(found, Mapping):
        raise UsageError(f"{path} holds a {type(found).__name__}, not a dictionary of tensors")
    keys = some(map(str, found))
    if key is None and not _is_state(found):
        raise UsageError(f"{path} is no state dictionary; it has {keys or 'nothing'}", "--key names the one within it")
    # A file that is a state dictionary itself (an initialization, say) needs no key.
    if key is not None and not (key not in found and _is_state(found)):
        if key not in found:
            raise UsageError(f"{path} has no {key!r}; it has {keys}")
        found = found[key]
        if not _is_state(found):
            raise UsageError(f"{key!r} of {path} is no state dictionary")
    for name, tensor in found.items():
        if tensor.layout != torch.strided or tensor.is_meta or tensor.is_quantized or tensor.is_nested:
            raise UsageError(
                f"{name} of {path} is no plain tensor (but sparse, quantized, nested or without numbers)",
                "save the tensors as the network computes with them",
            )
    return {str(name): tensor for name, tensor in found.items()}


def _is_state(found: Any) -> bool:
    import torch

    return (
        isinstance(found, Mapping) and len(found) > 0 and all(isinstance(part, torch.Tensor) for part in found.values())
    )


def some(names: Iterable[str]) -> str:
    """The first few names."""
    every = list(names)
    return ", ".join(every[:SOME]) + (f" and {len(every) - SOME} more" if len(every) > SOME else "")


def fit(
    description: Description,
    constants: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    path: Path,
    say: Callable[[str], None],
) -> dict[str, Tensor]:
    """The state of a network that is in a state dictionary: tied tensors once, constants of the code included.

    Args:
        constants: what no state dictionary of the module has.
        say: told of what is changed on the way.

    Raises:
        UsageError: one sentence on the first thing that does not fit.
    """
    import torch

    from nid_cli.nets.proof import running_statistics

    shapes = {name: tuple(shape) for name, shape in description.parameters.items()}
    shapes |= {name: tuple(buffer.shape) for name, buffer in description.buffers.items()}
    required = [name for name in shapes if name in description.parameters or description.buffers[name].persistent]
    known = {*shapes, *description.tied}
    named = _stripped(given, known, path, say)
    for alias, first in description.tied.items():
        if alias in named:
            own = named.pop(alias)
            if not _equal(own, named.setdefault(first, own)):
                raise UsageError(
                    f"{alias} and {first} are one tensor in the network, but differ in {path}",
                    "the network ties its weights; is this its checkpoint?",
                )
    if missing := [name for name in required if name not in named]:
        raise UsageError(f"{path} lacks {len(missing)} of the network's tensors: {some(missing)}", _is_it_this)
    surplus = [name for name in named if name not in shapes and not name.endswith("num_batches_tracked")]
    if surplus:
        raise UsageError(f"{path} has {len(surplus)} tensors that the network has not: {some(surplus)}", _is_it_this)
    state = {name: _tensor(name, description, shapes[name], constants, named, path) for name in shapes}
    if cast := sorted({f"{named[n].dtype} to {own.dtype}" for n, own in state.items() if _is_cast(own, named.get(n))}):
        say(f"{path.name}: numbers are converted from {', '.join(cast)}".replace("torch.", ""))
    for name in [*description.parameters, *running_statistics(description)]:  # a mask may hold infinities
        if not bool(torch.isfinite(state[name]).all()):
            raise UsageError(f"{name} of {path} holds numbers that are not finite (as float32)", "did it diverge?")
    return state


def _is_cast(own: Tensor, given: Tensor | None) -> bool:
    return given is not None and given.dtype != own.dtype


def refuse_differing(graph: Graph, states: Iterable[tuple[str, bytes]]) -> None:
    """Holds the constants that state dictionaries have (masks, say) against each other: a group shares one network.

    Args:
        states: of each model who it is, and its tensors as registries keep them.

    Raises:
        UsageError: they differ.
    """
    from nid_cli.nets.storage import from_bytes, to_bytes

    read = {name for call in graph.calls for name in call.stored}
    shared = [n for n, own in graph.description.buffers.items() if own.persistent and n in read - graph.running]
    first: dict[str, tuple[str, bytes]] = {}
    for who, content in states if shared else ():
        state = from_bytes(content)
        for name in shared:
            own = to_bytes({name: state[name]})
            other, kept = first.setdefault(name, (who, own))
            if kept != own:
                raise UsageError(
                    f"{name}, a constant that the network computes with, differs between {other} and {who}",
                    "models of one group share everything but parameters and running statistics",
                )


_is_it_this = "--model and --model-arg must make the network that was trained"


def _tensor(
    name: str,
    description: Description,
    shape: tuple[Any, ...],
    constants: Mapping[str, Tensor],
    named: Mapping[str, Tensor],
    path: Path,
) -> Tensor:
    import torch

    buffer = description.buffers.get(name)
    if buffer is not None and not buffer.persistent:
        if name in named and not _equal(named[name], constants[name]):
            raise UsageError(f"{name} is a constant of the network, but another one in {path}", _is_it_this)
        return constants[name]
    own = named[name]
    if tuple(own.shape) != shape:
        said = ["x".join(map(str, part)) or "one number" for part in (tuple(own.shape), shape)]
        raise UsageError(f"{name} of {path} is {said[0]}, of the network {said[1]}", _is_it_this)
    dtype = getattr(torch, buffer.dtype if buffer else "float32")
    if own.is_floating_point() != dtype.is_floating_point or own.is_complex() != dtype.is_complex:
        raise UsageError(f"{name} of {path} holds {own.dtype}, of the network {dtype}".replace("torch.", ""))
    return own.detach().to(dtype).contiguous()


def _stripped(
    given: Mapping[str, Tensor], known: Collection[str], path: Path, say: Callable[[str], None]
) -> dict[str, Tensor]:
    """The tensors by the network's names: a prefix that wrappers put before all of them is taken off, and said."""
    named, prefix = dict(given), ""
    while not named.keys() & known:
        first = {name.partition(".")[0] for name in named if "." in name}
        if len(first) != 1 or not all("." in name for name in named):
            return dict(given)
        [own] = first
        prefix += f"{own}."
        named = {name.partition(".")[2]: tensor for name, tensor in named.items()}
    if prefix:
        say(f"{path.name}: the prefix {prefix} is left out of all names")
    return named


def _equal(one: Tensor, other: Tensor) -> bool:
    import torch

    return one.shape == other.shape and bool(torch.equal(one, other))
