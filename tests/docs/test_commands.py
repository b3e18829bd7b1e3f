"""Every command line of the README and of docs/ does what it says, small, so that none rots.

Each page is read in its order in a folder of its own. Names of commands (`nid db gc` in a sentence) are looked up;
command lines (with options or arguments) and blocks of Python run.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nid_cli.pipeline.engines import ENGINES
from tests.benchmarks.kills import reference_run
from tests.docs.pages import PAGES, ROOT, calls, parts

# What is put in the place of what takes minutes, or needs files that are not here; in this order.
SMALLER = {
    r"FILE\.toml": "small.toml",
    r"--shard I/N": "--shard 0/2",
    r" --engine ray( --address \S+)?( --workers \d+)?( --gpus-per-model \S+)?": "",  # no cluster runs here
    r"nid sweep ([a-z]+-[a-z]+|quick|my.toml)\b(?! --(show|dry-run))": r"nid sweep \1 --dry-run",
    r"--sweep my": "--sweep small --points 3",
    r"\bnid train\b(?! --group)": "nid train --seeds 2 --epochs 1 --save-every 1",
    r"\bnid train (?!--group|.*--arch (resnet|nets))": "nid train --width 8 ",
    r"(?<=--width )64": "8",
    r"(?<= --seeds )[3-9]": "2",
    r"(?<=--epochs )[1-9]\d*": "1",
    r"(?<=--epochs )0:\d+:\d+": "all",
    r"(?<=for kappa in )0 \.\S* [^;]*": "0 1",
    r"--data k=": "--data samples=300 --data test-samples=50 --data d=32 --data k=",
    r"--counts 2,3,4": "--counts 2",
    r"train-size=5000": "train-size=100",
    r"(?<=--neurons )64": "2",
    r"(--method ridge --betas .01 --layers 0|--kind scatter)(?!.*--neurons)": r"\1 --neurons 2",
    r"nid lmc --arch resnet": "nid lmc --arch resnet --points 3",
    r"plot report --dataset digits": "plot report --group mlp-digits-w-k1",
    r"(coherence|plot) synthetic": r"\1 synthetic --copies 2 --outer-seeds 1 --num-pairs 1 --epochs 1 --width 8",
    r"--dataset cifar10": "--dataset cifar10 --dry-run",  # torchvision checks that the files are the real ones
    r'"\d+000", "\d"': '"100", "1"',
    r"\bnid ui\b": "nid ui --help",  # a server does not end by itself; its options are read all the same
    r" --overlay paper": "",  # the paper's values are those of networks as large and as long trained as the paper's
}

SWEEP = """
[[train]]
symmetry = ["w", "standard"]
width = 8
epochs = 1
seeds = 2
"""


def small(shell: str) -> str:
    """The text of a block with everything in ``SMALLER`` replaced."""
    for pattern, replacement in SMALLER.items():
        shell = re.sub(pattern, replacement, shell)
    return shell


def call(arguments: list[str]) -> None:
    """One command line, in this process; what follows ``>`` is the file that gets its output."""
    from nid_cli.cli.app import run

    target = Path(arguments[arguments.index(">") + 1]) if ">" in arguments else None
    arguments = arguments[: arguments.index(">")] if target else arguments
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = run(arguments)
    assert code == 0, f"nid {shlex.join(arguments)} ended with {code}: {said.getvalue()}"
    if target:
        target.write_text(out.getvalue())


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """Where command lines run: in ``folder``, whose data are in DIR."""
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("NID_DATA_DIR", "DIR")
        patch.delenv("NID_REGISTRY", raising=False)
        # Worker processes take longer to start than these networks to train.
        patch.setitem(ENGINES, "local", ENGINES["here"])
        yield


def is_name(words: list[str]) -> bool:
    """Whether these are the words of a command, without options or arguments."""
    from typer.main import get_command

    from nid_cli.cli.app import app

    command: Any = get_command(app)
    context = command.make_context("nid", [], resilient_parsing=True)
    for word in words:
        if not hasattr(command, "commands") and not hasattr(command, "resolve_command"):
            return False
        if command.get_command(context, word) is None:
            return False
        _, command, _ = command.resolve_command(context, [word])
    return True


def idx(array: np.ndarray) -> bytes:
    """Bytes in the format of MNIST's files."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def make_data(folder: Path) -> None:
    """A small MNIST, of enlarged digits, and a folder of pictures in five classes."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.pad(np.kron(digits.images * 15, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2)))
    raw = folder / "MNIST/raw"
    raw.mkdir(parents=True)
    for name, part in (("train", slice(0, 300)), ("t10k", slice(300, 400))):
        (raw / f"{name}-images-idx3-ubyte").write_bytes(idx(images[part]))
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(idx(digits.target[part]))
    for number, (image, target) in enumerate(zip(images[:120], digits.target, strict=False)):
        if target < 5:
            place = folder / "image-folder" / ("test" if number % 3 == 0 else "train") / str(target)
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.astype(np.uint8)).convert("RGB").save(place / f"{number}.png")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of as being there: data in DIR, runs, a colleague's registry, groups."""
    folder = tmp_path_factory.mktemp("docs")
    make_data(folder / "DIR")
    (folder / "runs").mkdir()
    reference_run(folder / "runs/mlp-w-kappa1", 2)
    (folder / "docs/figures").mkdir(parents=True)
    shutil.copy(ROOT / "docs/own_models.py", folder / "docs")
    with at_work(folder):
        for command in (
            "nid train --symmetry w",
            "nid train --symmetry standard",
            "nid train --symmetry syre --name old --seed 5",
            "nid train --dataset mnist --symmetry w",
            "nid train --symmetry w --kappa 3 --registry colleague/.nid/registry.db",
        ):
            call(shlex.split(small(command))[1:])
        Path("small.toml").write_text(SWEEP)
        call(["sweep", "small.toml"])
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_command_lines_run(page: Path, prepared: Path, tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    with at_work(shutil.copytree(prepared, tmp_path / "folder")):
        for part in parts(page.read_text()):
            try:
                if part.kind == "python":
                    exec(compile(small(part.text), page.name, "exec"), names)
                elif part.kind == "toml":
                    Path("page.toml").write_text(part.text)
                    call(["sweep", "page.toml", "--dry-run"])
                elif part.kind == "sh" or (part.kind == "span" and not is_name(part.text.split()[1:])):
                    for arguments in calls(small(part.text)):
                        call(arguments)
            except Exception as error:
                raise AssertionError(f"{page.name}, line {part.line}: {error}") from error


def test_every_replacement_is_needed() -> None:
    text = "\n".join(part.text for page in PAGES for part in parts(page.read_text()))
    for pattern, replacement in SMALLER.items():
        assert re.search(pattern, text), pattern
        text = re.sub(pattern, replacement, text)


def test_blocks_are_read_as_a_shell_reads_them(tmp_path: Path) -> None:
    loop = "for k in 0 .5; do nid train --kappa $k; done  # twice"
    assert calls(loop) == [["train", "--kappa", "0"], ["train", "--kappa", ".5"]]
    assert calls("pip install . && nid lmc && nid group note x 'two words'") == [
        ["lmc"],
        ["group", "note", "x", "two words"],
    ]
    assert calls("nid train --dry-run > run.toml  # all") == [["train", "--dry-run", ">", "run.toml"]]
    with pytest.raises(AssertionError):
        calls("nid lmc && rm -r .")


def test_a_name_is_told_from_a_command_line() -> None:
    assert all(is_name(words.split()) for words in ("db gc", "lmc", "coherence synthetic", "plot lmc", "group"))
    assert not any(is_name(words.split()) for words in ("db nothing", "lmc --align none", "group rm old", "nothing"))


def test_a_command_line_that_does_not_work_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in ("train --epoch-count 3", "lmc", "plot nothing --out x.pdf"):
        with pytest.raises(AssertionError):
            call(wrong.split())
