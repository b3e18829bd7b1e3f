"""Where a registry is: its database file, and the file system below it."""

from __future__ import annotations

import os
from pathlib import Path

from nid_cli.errors import NotFoundError

FOLDER, FILE = ".nid", "registry.db"
# File systems on which SQLite's WAL is unsafe: its shared-memory index does not span machines.
NETWORK_FILE_SYSTEMS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "lustre", "gpfs", "beegfs", "ceph", "9p", "pvfs2", "orangefs"}
    | {"fuse.ceph", "fuse.sshfs", "fuse.glusterfs"}
)


def locate(given: Path | None) -> Path | None:
    """The database file: ``given``, else ``NID_REGISTRY``, else the nearest ``.nid/registry.db`` here or above."""
    named = given or (Path(os.environ["NID_REGISTRY"]) if os.environ.get("NID_REGISTRY") else None)
    if named:
        # A folder is understood as the .nid folder itself, or the one that holds it.
        for candidate in (named / FILE, named / FOLDER / FILE) if named.is_dir() else ():
            if candidate.exists():
                return candidate.absolute()
        return (named / FILE if named.is_dir() else named).absolute()
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / FOLDER / FILE).exists():
            return folder / FOLDER / FILE
    return None


def find(given: Path | None) -> Path:
    """The database file, which is there.

    Raises:
        NotFoundError: there is none.
    """
    path = locate(given)
    if path is None or not path.exists():
        where = f"at {path}" if path else "in this folder or one above it"
        raise NotFoundError(
            f"there is no registry {where}", "nid train or nid register creates one; --registry names another"
        )
    return path


def file_system(path: Path) -> str:
    """The type of the file system that holds ``path``, as Linux names it; empty where that cannot be told."""
    best, kind = "", ""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    for line in mounts:
        _, mount, fs, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        if path.resolve().is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, fs
    return kind


def is_on_network(path: Path) -> bool:
    """Whether ``path`` is on a file system that machines share."""
    return file_system(path) in NETWORK_FILE_SYSTEMS
