"""The sweeps that come with nid, a file each."""

from __future__ import annotations

from importlib.resources import files

ENDING = ".toml"


def names() -> list[str]:
    """Their names, sorted."""
    here = files(__name__)
    return sorted(path.name.removesuffix(ENDING) for path in here.iterdir() if path.name.endswith(ENDING))


def text_of(name: str) -> str:
    """The text of one of them."""
    return (files(__name__) / f"{name}{ENDING}").read_text(encoding="utf-8")
