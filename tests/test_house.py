"""The house rules: which room may import which, what stays lazy, and who may speak to the user."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import nid_cli

PACKAGE = Path(nid_cli.__file__).parent

# For each room (a folder or a top-level module), the rooms that it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "lazy": set(),
    "stopping": set(),
    "version": set(),
    "files": {"errors"},
    "specs": {"errors"},
    "records": {"specs"},
    "data": {"specs", "errors", "files", "lazy"},
    "nets": {"specs", "errors", "lazy"},
    "graphs": {"specs", "errors", "data", "nets"},
    "recipes": {"specs", "errors", "data", "nets", "graphs"},
    "metrics": {"data", "nets"},
    "training": {"specs", "data", "nets", "metrics"},
    "analysis": {"specs", "errors", "lazy", "records", "data", "nets", "metrics"},
    "plots": {"specs", "errors", "records"},
    "registry": {"specs", "errors", "files", "stopping", "version", "records", "nets", "graphs"},
    "pipeline": {"specs", "errors", "files", "lazy", "stopping", "records", "data", "nets", "graphs"}
    | {"metrics", "training", "analysis", "plots", "registry", "recipes"},
    "web": {"specs", "errors", "records", "plots", "registry", "pipeline"},
    "notebook": {"specs", "errors", "records", "nets", "registry", "pipeline"},
    "cli": {"specs", "errors", "files", "stopping", "version", "records", "recipes", "data", "nets"}
    | {"analysis", "pipeline", "registry", "web"},
}
ONLY_IN = {
    "typer": {"cli"},
    "rich": {"cli"},
    "sqlalchemy": {"registry", "pipeline"},
    "alembic": {"registry"},
    "ray": {"pipeline"},
    "starlette": {"web"},
    "uvicorn": {"web"},
}
LIGHT = {"registry", "specs", "records", "graphs", "recipes", "cli", "plots", "errors", "files", "lazy", "web"}
NEVER_IN = {"torch": LIGHT}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = [p for p in sorted(PACKAGE.rglob("*.py")) if p.parent != PACKAGE or _room(p) in MAY_IMPORT]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = _room(path)
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "nid_cli" and len(parts) > 1 and parts[1] in MAY_IMPORT:
            assert parts[1] == room or parts[1] in MAY_IMPORT[room], f"{room} imports {parts[1]}"
        if parts[0] in ONLY_IN:
            assert room in ONLY_IN[parts[0]], f"{room} imports {parts[0]}"
        if parts[0] in NEVER_IN:
            assert room not in NEVER_IN[parts[0]], f"{room} imports {parts[0]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_the_command_line_prints(path: Path) -> None:
    if _room(path) == "cli":
        return
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    assert not [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["group", "list"], ["train", "--dry-run"]]
)
def test_light_commands_import_no_heavy_package(arguments: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from nid_cli.cli.app import run; run(sys.argv[1:]);"
        "heavy = ('torch', 'torchvision', 'pandas', 'matplotlib', 'scipy', 'sklearn', 'ray');"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def _public(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes of a module or class, and what is public inside public classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


def test_every_public_name_has_a_docstring() -> None:
    missing = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        nodes = [("module", tree), *((node.name, node) for node in _public(tree.body))]
        missing += [f"{path.name}: {name}" for name, node in nodes if not ast.get_docstring(node)]
    assert missing == []
