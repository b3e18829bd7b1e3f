"""Calls as JSON and back. No torch.

A constant is itself; what is named is an object of one entry: ``{"value": "relu_3"}``, ``{"stored": "fc.weight"}``,
``{"dtype": "float32"}``, ``{"size": "4N"}`` (four times the samples), ``{"number": "inf"}``. In shapes the samples are
plain ``"N"``. Only canonical spellings are read: equal calls are equal text.
"""

from __future__ import annotations

import math
import re
from typing import Any

from nid_cli.errors import IntegrityError
from nid_cli.nets.calls import Argument, Batch, Call, Named, Shape, Stored, Value

NAMED = ("dtype", "memory_format")
# Tuples in tuples in a call's arguments: a list of tensors is one deep, pairs of paddings are two.
DEPTH = 4
LARGEST_INTEGER = 2**63 - 1
_SIZE = re.compile(r"([1-9][0-9]{0,8})?N")
_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encode_argument(argument: Argument) -> Any:
    """The JSON value of an argument of a call."""
    match argument:
        case Value(name):
            return {"value": name}
        case Stored(name):
            return {"stored": name}
        case Named(kind, name):
            return {kind: name}
        case Batch():
            return {"size": _encode_size(argument)}
        case tuple():
            return [encode_argument(part) for part in argument]
        case float() if not math.isfinite(argument):
            return {"number": str(argument)}
    return argument


def decode_argument(data: Any, depth: int = 0) -> Argument:
    """The argument that ``data`` encodes.

    Raises:
        IntegrityError: it encodes none.
    """
    if data is None or isinstance(data, bool | str):
        return data
    if isinstance(data, int):
        if abs(data) > LARGEST_INTEGER:
            raise IntegrityError("the network's description has a whole number of more than 64 bits")
        return data
    if isinstance(data, float):
        return data
    if isinstance(data, list):
        if depth == DEPTH:
            raise IntegrityError(f"the network's description nests arguments more than {DEPTH} deep")
        return tuple(decode_argument(part, depth + 1) for part in data)
    if isinstance(data, dict) and len(data) == 1:
        ((kind, name),) = data.items()
        if isinstance(name, str):
            if kind == "value":
                return Value(name)
            if kind == "stored":
                return Stored(name)
            if kind == "size":
                return _decode_size(name)
            if kind == "number" and name in _NUMBERS:
                return _NUMBERS[name]
            if kind in NAMED:
                return Named(kind, name)
    raise IntegrityError(f"the network's description has an argument that means nothing: {str(data)[:60]}")


def encode_shape(shape: Any) -> Any:
    """The JSON value of a shape, of several, or of None (a number)."""
    if shape is None:
        return None
    return [encode_shape(part) if isinstance(part, tuple) else _encode_size(part) for part in shape]


def decode_shape(data: Any) -> Any:
    """The shape, or shapes of several values, that ``data`` encodes; IntegrityError where it encodes none."""
    if data is None:
        return None
    if not isinstance(data, list):
        raise IntegrityError(f"the network's description has a shape that is none: {str(data)[:60]}")
    if data and isinstance(data[0], list):
        return tuple(_decode_sizes(part) for part in data)
    return _decode_sizes(data)


def _decode_sizes(data: Any) -> Shape:
    if not isinstance(data, list):
        raise IntegrityError(f"the network's description has a shape that is none: {str(data)[:60]}")
    return tuple(_decode_size(part) for part in data)


def _encode_size(size: int | Batch) -> int | str:
    if isinstance(size, Batch):
        return "N" if size.times == 1 else f"{size.times}N"
    return size


def _decode_size(data: Any) -> int | Batch:
    if isinstance(data, str) and (found := _SIZE.fullmatch(data)):
        return Batch(int(found[1] or 1))
    if isinstance(data, int) and not isinstance(data, bool) and abs(data) <= LARGEST_INTEGER:
        return data
    raise IntegrityError(f"the network's description has a size that is none: {str(data)[:60]}")


def encode_call(call: Call) -> dict[str, Any]:
    """The JSON object of a call; what is empty stays out."""
    data: dict[str, Any] = {
        "name": call.name,
        "function": call.function,
        "args": encode_argument(call.args),
        "shape": encode_shape(call.shape),
    }
    if call.kwargs:
        data["kwargs"] = {name: encode_argument(value) for name, value in call.kwargs}
    if call.site is not None:
        data["site"] = call.site
    return data


def decode_call(data: Any) -> Call:
    """The call that ``data`` encodes; its keyword arguments sorted. IntegrityError where it encodes none."""
    known = {"name", "function", "args", "shape", "kwargs", "site"}
    if not isinstance(data, dict) or not {"name", "function", "args", "shape"} <= data.keys() <= known:
        raise IntegrityError(f"the network's description has a call without the right entries: {str(data)[:60]}")
    kwargs, site = data.get("kwargs", {}), data.get("site")
    texts = (data["name"], data["function"], *(() if site is None else (site,)))
    if not all(isinstance(text, str) for text in texts):
        raise IntegrityError(f"the network's description has a call whose name is no text: {str(data)[:60]}")
    if not isinstance(kwargs, dict) or not isinstance(data["args"], list):
        raise IntegrityError(f"the network's description has a call whose arguments are no list: {str(data)[:60]}")
    return Call(
        name=data["name"],
        function=data["function"],
        args=decode_argument(data["args"]),
        kwargs=tuple((name, decode_argument(kwargs[name], 1)) for name in sorted(kwargs)),
        shape=decode_shape(data["shape"]),
        site=site,
    )
