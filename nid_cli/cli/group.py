"""``nid group``: list, show, rename, note, rm, restore, export. Fast: torch is never imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nid_cli.cli import options, output, render, selectors
from nid_cli.cli.commands import COMMANDS, App, CommandGroup
from nid_cli.errors import NidError
from nid_cli.pipeline.context import Context
from nid_cli.records.group import GroupChange, GroupDetails, GroupSummary

app = App(
    cls=CommandGroup,
    help=COMMANDS["group"].summary,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(
    "list",
    epilog=options.examples(
        "nid group list",
        "nid group list --symmetry w --kappa 1 --json",
    ),
)
def list_(
    arch: selectors.Archs = None,
    dataset: selectors.Datasets = None,
    symmetry: selectors.Symmetries = None,
    kappa: selectors.Kappas = None,
    group: selectors.Groups = None,
    sweep: selectors.Sweeps = None,
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
    export: options.Export = None,
) -> None:
    """List groups."""
    from nid_cli.pipeline.housekeeping import group as manage

    output.check(export)
    chosen = selectors.selection(arch, dataset, symmetry, kappa, group, sweep)
    records = manage.list_groups(Context(registry=registry), chosen)
    columns = ("name", "arch", "dataset", "symmetry", "kappa", "models", "epochs", "created_at")

    def row(r: dict[str, Any]) -> tuple[Any, ...]:
        unfinished = ", ".join(f"{n} {state}" for state, n in r["status"].items() if state != "complete")
        shown = {
            "models": f"{r['models']} ({unfinished})" if unfinished else r["models"],
            "epochs": _span(r["epochs"]),
            "created_at": r["created_at"][:16].replace("T", " "),
        }
        return tuple(shown.get(c, r[c]) for c in columns)

    def human() -> None:
        render.table([c.replace("_at", "") for c in columns], [row(r) for r in records])

    output.show(GroupSummary, records, as_json=as_json, export=export, human=human)


def _span(epochs: list[int]) -> str:
    return ",".join(map(str, epochs)) if len(epochs) < 4 else f"{epochs[0]},{epochs[1]},..,{epochs[-1]}"


@app.command(
    epilog=options.examples(
        "nid group show mlp-digits-w-k1 --json",
    )
)
def show(name: options.GroupName, registry: options.RegistryOption = None, as_json: options.Json = False) -> None:
    """Show one group: its settings, members with their seeds and files, and where they come from."""
    from nid_cli.pipeline.housekeeping import group as manage

    record = manage.show_group(Context(registry=registry), name)

    def human() -> None:
        simple = {k: v for k, v in record.items() if not isinstance(v, dict) and k not in ("members", "kappa")}
        simple = {"checkpointed epochs" if k == "epochs" else k: v for k, v in simple.items()}
        render.table(("field", "value"), list((simple | record["settings"] | {"name": record["name"]}).items()))
        last = ("train_accuracy", "val_accuracy", "test_accuracy")
        rows = [
            (
                m["model"],
                m["status"],
                m["seeds"]["init"],
                m["seeds"]["order"],
                m["seeds"]["mask"],
                len(m["checkpoints"]),
                *((m["last"] or {}).get(k) for k in last),
            )
            for m in record["members"]
        ]
        columns = ("model", "status", "init seed", "order seed", "mask seed", "checkpoints")
        render.table((*columns, *(k.replace("_", " ") for k in last)), rows)

    output.show(GroupDetails, [record], as_json=as_json, export=None, human=human)


@app.command(
    epilog=options.examples(
        "nid group rename mlp-digits-w-k1 baseline",
    )
)
def rename(
    name: options.GroupName,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new name.")],
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Give a group another name."""
    from nid_cli.pipeline.housekeeping import group as manage

    context = Context(registry=registry, argv=options.command_line())
    manage.rename_group(context, name, new)
    _done([{"name": new, "renamed_from": name}], as_json, f"{name} is now {new}")


@app.command(epilog=options.examples('nid group note baseline "the first sweep"'))
def note(
    name: options.GroupName,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note; an empty one clears it.")],
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Write a note to a group."""
    from nid_cli.pipeline.housekeeping import group as manage

    manage.note_group(Context(registry=registry), name, text)
    _done([{"name": name, "note": text}], as_json, f"noted on {name}")


@app.command(
    epilog=options.examples(
        "nid group rm old-group --yes",
    )
)
def rm(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Groups.", autocompletion=options.complete_groups)
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Also where results hang on them.")] = False,
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Remove groups with their models, checkpoints and results (until nid db gc, they can be restored)."""
    from nid_cli.pipeline.housekeeping import group as manage

    removed = manage.remove_groups(Context(registry=registry, argv=options.command_line()), names, yes)
    sentence = f"removed {', '.join(removed)}; nid group restore NAME brings it back until nid db gc"
    _done([{"name": name, "removed": True} for name in removed], as_json, sentence)


def _complete_removed() -> list[str]:
    from nid_cli.pipeline.housekeeping import group as manage

    try:
        return manage.removed_names(Context())
    except NidError:
        return []


@app.command(epilog=options.examples("nid group restore old-group"))
def restore(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A removed group's name.", autocompletion=_complete_removed)
    ],
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Bring back a removed group, with everything that hung on it."""
    from nid_cli.pipeline.housekeeping import group as manage

    restored = manage.restore_group(Context(registry=registry, argv=options.command_line()), name)
    _done([{"name": restored, "restored_from": name}], as_json, f"restored {restored}")


@app.command(
    epilog=options.examples(
        "nid group export mlp-digits-w-k1 w.tar",
    )
)
def export(
    name: options.GroupName,
    file: Annotated[Path, typer.Argument(metavar="FILE.tar", help="The archive to write.")],
    registry: options.RegistryOption = None,
    as_json: options.Json = False,
) -> None:
    """Write a group with its checkpoints, results and lineage into an archive that nid register takes over."""
    from nid_cli.pipeline.importing.exchange import export_group

    record = export_group(Context(registry=registry, argv=options.command_line()), name, file)
    _done([record], as_json, f"wrote {name} to {file} ({record['bytes']} bytes)")


def _done(records: list[dict[str, Any]], as_json: bool, sentence: str) -> None:
    output.show(GroupChange, records, as_json=as_json, export=None, human=lambda: render.say(sentence))
