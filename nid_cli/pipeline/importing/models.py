"""Networks of the user's own code: ``nets.py:build`` or ``torchvision.models:resnet18``, run because he names them."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from nid_cli.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from torch import nn


def is_model(reference: str) -> bool:
    """Whether a name is a MODEL (``FILE.py:FUNCTION``, ``package.module:FUNCTION``)."""
    code, colon, function = reference.rpartition(":")
    return bool(colon and code and function.isidentifier())


def parse_model_args(texts: Iterable[str]) -> dict[str, Any]:
    """``KEY=VALUE`` texts as arguments: numbers, true and false, null and lists as in JSON; all else is text.

    Raises:
        UsageError: one is no ``KEY=VALUE``, or a key comes twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise UsageError(f"{text!r} is no argument of a model", "write --model-arg KEY=VALUE")
        if key in found:
            raise UsageError(f"--model-arg {key} comes twice")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = {"True": True, "False": False, "None": None}.get(value, value)
    return found


def build_module(reference: str, model_args: Mapping[str, Any]) -> nn.Module:
    """Calls the function that ``reference`` names.

    Raises:
        NotFoundError: its file, module or function is not there.
        UsageError: it cannot be called so, raises, or returns no module.
    """
    from torch import nn

    code, _, name = reference.rpartition(":")
    if not is_model(reference):
        raise UsageError(
            f"{reference!r} names no model", "write FILE.py:FUNCTION or package.module:FUNCTION, which returns a module"
        )
    module = _from_file(Path(code)) if code.endswith(".py") else _from_package(code)
    if (function := getattr(module, name, None)) is None:
        public = [own for own, value in vars(module).items() if callable(value) and not own.startswith("_")]
        near = difflib.get_close_matches(name, public, n=3)
        raise NotFoundError(f"{code} has no {name}", f"did you mean {' or '.join(near)}?" if near else None)
    if not callable(function):
        raise UsageError(f"{reference} is a {type(function).__name__}, not a function that returns a module")
    try:
        inspect.signature(function).bind(**model_args)
    except TypeError as error:
        raise UsageError(f"{reference} cannot be called so: {error}", "--model-arg KEY=VALUE gives arguments") from None
    except ValueError:
        pass  # of built-in functions Python knows no signature
    try:
        built = function(**model_args)
    except Exception as error:
        raise UsageError(f"{reference} raised {_said(error)}") from error
    if not isinstance(built, nn.Module):
        raise UsageError(f"{reference} returns a {type(built).__name__}, not a torch.nn.Module")
    return built


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"nid_model_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # the file may import its neighbours
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{path} cannot be imported: it raised {_said(error)}") from error
    finally:
        sys.path.remove(folder)
    return module


def _from_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise NotFoundError(
                f"there is no module {name}", "a file is named with its ending: nets.py:build"
            ) from error
        raise UsageError(f"{name} cannot be imported: it raised {_said(error)}") from error
    except Exception as error:
        raise UsageError(f"{name} cannot be imported: it raised {_said(error)}") from error


def _said(error: Exception) -> str:
    """An exception on one line."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
