"""A table of settings with lists in the place of values: the grid of all their combinations. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from nid_cli.errors import NidError, UsageError, unknown
from nid_cli.pipeline.training.requests import OF_CODE
from nid_cli.recipes import KNOWN

NAME, SEEDS = "name", "seeds"
SETTINGS = (*KNOWN, *OF_CODE, NAME)
# Settings whose values may be lists: a grid over them is a list of lists.
LISTED = ("kappa", "num_fixed", "milestones")
# Settings whose values are tables: a grid has lists in the places of their values.
TABLES = ("data", "model_arg")
SCALARS = (str, int, float)

# A setting by its name, one within a table by the table's name and its own.
Place = tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """The combinations of one table, not yet made: by setting the values that it takes."""

    axes: Mapping[Place, tuple[Any, ...]]

    @property
    def count(self) -> int:
        """How many combinations it has."""
        return math.prod(len(values) for values in self.axes.values())

    def combinations(self) -> Iterator[dict[str, Any]]:
        """The settings of each combination; those of the table's first key change last."""
        for values in product(*self.axes.values()):
            made: dict[str, Any] = {}
            for place, value in zip(self.axes, values, strict=True):
                if len(place) > 1:
                    made.setdefault(place[0], {})[place[1]] = value
                else:
                    made[place[0]] = value
            yield made


def read(table: Mapping[str, Any]) -> Grid:
    """The grid of a ``[[train]]`` table; names may have dashes.

    Raises:
        UsageError: an unknown setting (the nearest is named), or a value that no setting takes.
    """
    axes: dict[Place, tuple[Any, ...]] = {}
    for given, value in table.items():
        name = given.replace("-", "_")
        if name not in SETTINGS:
            raise unknown("setting", given, [known.replace("_", "-") for known in SETTINGS])
        if any(place[0] == name for place in axes):
            raise UsageError(f"{given} stands there twice, with a dash and with an underscore")
        if name in TABLES:
            axes |= _of_table(name, value)
        else:
            axes[(name,)] = tuple(_one(name, own, name in LISTED) for own in _several(name, value))
            if name == SEEDS and any(isinstance(own, bool) or not isinstance(own, int) for own in axes[(name,)]):
                raise UsageError(f"seeds must be a whole number, not {_shown(value)}")
    grid = Grid(axes)
    if NAME in table and grid.count > 1:
        raise UsageError(
            f"name is that of one group, and this table makes {grid.count:,} trainings",
            "leave name out: generated names say what a group is",
        )
    return grid


def _of_table(name: str, value: Any) -> dict[Place, tuple[Any, ...]]:
    """A table within a table, such as the parameters of a data set; an empty one is no axis."""
    if not isinstance(value, Mapping):
        raise UsageError(
            f"{name} must be a table, not {_shown(value)}", f"{name} = {{ key = [1, 2] }} is a grid over key"
        )
    axes: dict[Place, tuple[Any, ...]] = {}
    for key, own in value.items():
        place = (name, key.replace("-", "_"))
        if place in axes:
            raise UsageError(f"{name}.{key} stands there twice, with a dash and with an underscore")
        axes[place] = tuple(_one(f"{name}.{key}", each, False) for each in _several(f"{name}.{key}", own))
    return axes


def _several(name: str, value: Any) -> list[Any]:
    """The values that a setting takes: those of a list, or the one that stands there."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UsageError(f"{name} is an empty list, which makes no training")
    return values


def _one(name: str, value: Any, may_be_list: bool) -> Any:
    """One value, as ``nid train`` takes it from a file."""
    if isinstance(value, SCALARS):
        return [value] if name == "milestones" and isinstance(value, int) else value
    if not isinstance(value, list):
        raise UsageError(f"{name} must be a number, a text, true or false, or a list of these, not {_shown(value)}")
    if not may_be_list:
        listed = ", ".join(name.replace("_", "-") for name in LISTED)
        raise UsageError(
            f"{name} has a list in its list, which only {listed} take", "one list is a grid over its values"
        )
    if any(not isinstance(part, SCALARS) for part in value):
        raise UsageError(f"{name} has a list in its list that holds more than numbers: {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def frozen(settings: Any) -> Any:
    """Equal for settings that are: tables in any order, 1 and 1.0 alike, true and 1 not."""
    if isinstance(settings, Mapping):
        return frozenset((name, frozen(value)) for name, value in settings.items())
    if isinstance(settings, list):
        return tuple(frozen(value) for value in settings)
    return isinstance(settings, bool), settings


def located(where: str, error: NidError) -> UsageError:
    """The error with the place that it is about."""
    return UsageError(f"{where}: {error.message}", error.hint)
