"""The data sets of specifications: of the catalogue by name, of files by content, which the registry keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nid_cli import files
from nid_cli.data.catalog import ENDINGS
from nid_cli.errors import IntegrityError, NotFoundError
from nid_cli.pipeline.context import Context
from nid_cli.registry import artifacts
from nid_cli.registry.database import Registry
from nid_cli.specs import DataSpec

if TYPE_CHECKING:
    from nid_cli.data.file import DataFile
    from nid_cli.data.tensors import Data


def load_data(registry: Registry, context: Context, spec: DataSpec) -> Data:
    """The data as tensors in memory.

    Raises:
        NotFoundError: the files are not there. IntegrityError: they are not those of the specification.
    """
    from nid_cli.data.load import load, load_content

    if spec.content is None:
        return load(spec.name, spec.parameters, context.data_folder)
    return load_content(spec.name, spec.parameters, _content(registry, context, spec, spec.content))


def _content(registry: Registry, context: Context, spec: DataSpec, digest: str) -> bytes:
    from nid_cli.data.file import hold, read

    kept = registry.file(artifacts.data_path(digest))
    if kept.is_file():
        content = artifacts.read_verified(kept, digest)
        hold(content, spec)
        return content
    places = [context.data_folder / f"{spec.name}{ending}" for ending in ENDINGS]
    for path in places:
        if path.is_file():
            found = read(path, spec.parameters)
            if found.spec.content != digest:
                raise IntegrityError(
                    f"{path} does not hold the data set {spec.name} that the models were made for: its content differs",
                    "point --data-dir at the folder of the original file",
                )
            return found.content
    raise NotFoundError(
        f"the data set {spec.name} is neither in the registry nor at {places[0]}",
        "put the file that the models were made for there, or name its folder with --data-dir",
    )


def keep(registry: Registry, given: DataFile) -> None:
    """Has a file's tensors in the registry's folder, written only where they are not."""
    assert given.spec.content is not None
    path = registry.file(artifacts.data_path(given.spec.content))
    if artifacts.read_if(path, given.spec.content) is None:
        files.write_atomic(path, given.content)
