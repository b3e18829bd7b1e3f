"""The table of commands, and groups of commands that import one when it is run: help and completion start at once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from nid_cli.errors import unknown

TRAIN, MEASURE, DRAW, LOOK_AFTER = "Train and import", "Measure", "Draw", "Look after"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One command: the module that has it (with ``EXAMPLES``), its panel in the help, and its summary there.

    ``group``: the module's ``app`` has commands of its own.
    """

    module: str
    panel: str
    summary: str
    group: bool = False


# In the order of the work.
COMMANDS: dict[str, Entry] = {
    "train": Entry(
        module="nid_cli.cli.train",
        panel=TRAIN,
        summary="Train a group of networks that share their symmetry-breaking tensors, from several seeds.",
    ),
    "sweep": Entry(
        module="nid_cli.cli.sweep",
        panel=TRAIN,
        summary="Run a sweep: all trainings of a file through one pool, then its analyses and figures; again, what is "
        "missing.",
    ),
    "register": Entry(
        module="nid_cli.cli.register",
        panel=TRAIN,
        summary="Import models: state dictionaries of your own network, the reference code's runs, groups of other "
        "registries.",
    ),
    "group": Entry(
        module="nid_cli.cli.group",
        panel=TRAIN,
        summary="List, show, name and remove groups: models that may be interpolated and compared.",
        group=True,
    ),
    "symmetries": Entry(
        module="nid_cli.cli.symmetries",
        panel=MEASURE,
        summary="Derive which permutations leave a network unchanged, and prove it by running the network.",
    ),
    "lmc": Entry(
        module="nid_cli.cli.lmc",
        panel=MEASURE,
        summary="Measure linear mode connectivity: loss and accuracy between models, with and without alignment.",
    ),
    "match": Entry(
        module="nid_cli.cli.match",
        panel=MEASURE,
        summary="Measure how well the neurons of two models match: optimal, identity and random objectives, layer by "
        "layer.",
    ),
    "similarity": Entry(
        module="nid_cli.cli.similarity",
        panel=MEASURE,
        summary="Measure how similar two models are: their predictions, their layers (CKA), and what training changed.",
    ),
    "merge": Entry(
        module="nid_cli.cli.merge",
        panel=MEASURE,
        summary="Merge many models into one, with and without alignment, and measure it beside its parts.",
    ),
    "cost": Entry(
        module="nid_cli.cli.cost",
        panel=MEASURE,
        summary="Estimate what it costs a neuron to realize another's function, and two neurons to swap theirs.",
    ),
    "coherence": Entry(
        module="nid_cli.cli.coherence",
        panel=MEASURE,
        summary="Measure the coherence and anisotropy of a model's layers; or run the synthetic experiment.",
        group=True,
    ),
    "ntk": Entry(
        module="nid_cli.cli.ntk",
        panel=MEASURE,
        summary="Measure tangent kernels: their spectrum, how far they moved, and how linear training was.",
    ),
    "table": Entry(
        module="nid_cli.cli.table",
        panel=MEASURE,
        summary="Join what was measured: one row a group and epoch; and ask which column goes with which.",
    ),
    "align": Entry(
        module="nid_cli.cli.align",
        panel=MEASURE,
        summary="Write a model's state dictionary, its neurons permuted to match another model of the group.",
    ),
    "plot": Entry(
        module="nid_cli.cli.plot",
        panel=DRAW,
        summary="Draw figures from recorded results; what is missing is named with the command that makes it.",
        group=True,
    ),
    "ui": Entry(
        module="nid_cli.cli.ui",
        panel=DRAW,
        summary="Show the laboratory in a browser: groups, figures, lineage, and what is running; it writes nothing.",
    ),
    "db": Entry(
        module="nid_cli.cli.db",
        panel=LOOK_AFTER,
        summary="Check, back up, restore, upgrade and tidy the registry.",
        group=True,
    ),
    "doctor": Entry(
        module="nid_cli.cli.doctor",
        panel=LOOK_AFTER,
        summary="Look at versions, device, SQLite, registry, data and disk; exit 1 where something will not work.",
    ),
}


def load(name: str) -> Any:
    """The command ``name``, its module imported."""
    entry = COMMANDS[name]
    module: Any = import_module(entry.module)
    command: Any
    if entry.group:
        command = typer.main.get_group(module.app)
    else:
        alone = App(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(name, epilog=module.EXAMPLES)(getattr(module, name))
        command = typer.main.get_command(alone)
    command.name = name
    return command


# Options that may stand without their value, and what they mean then.
BARE = {"--pairs": "all"}


def _with_values(arguments: list[str]) -> list[str]:
    """The arguments, with the value of each option that stands bare."""
    found = []
    for place, word in enumerate(arguments):
        found.append(word)
        if word in BARE and (place + 1 == len(arguments) or arguments[place + 1].startswith("-")):
            found.append(BARE[word])
    return found


class OneCommand(TyperCommand):
    """A command whose help is in panels on a terminal, as that of groups is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments; see ``BARE``."""
        found: list[str] = super().parse_args(ctx, _with_values(args))
        return found

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Panels on a terminal, plain text elsewhere."""
        if sys.stdout is not None and sys.stdout.isatty():
            formatter.write(_drawn(self, ctx, {}))
        else:
            super().format_help(ctx, formatter)


class App(typer.Typer):
    """A Typer app whose commands are :class:`OneCommand`."""

    def command(self, name: str | None = None, **given: Any) -> Any:
        """Declares a command, as Typer does."""
        return super().command(name, **{"cls": OneCommand, **given})


class CommandGroup(TyperGroup):
    """Commands whose help lists them in panels, with summaries that are never cut off."""

    def panels(self, ctx: Any) -> dict[str, list[tuple[str, str]]]:
        """The names and summaries of the commands, by panel."""
        found: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                title = panel if isinstance(panel, str) else "Commands"
                found.setdefault(title, []).append((name, (command.help or "").split("\n\n")[0]))
        return found

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The commands as plain sections, for pipes and files."""
        for title, rows in self.panels(ctx).items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Panels on a terminal, plain text elsewhere."""
        if sys.stdout is not None and sys.stdout.isatty():
            formatter.write(_drawn(self, ctx, self.panels(ctx)))
        else:
            super().format_help(ctx, formatter)


def _drawn(command: Any, ctx: Any, panels: dict[str, list[tuple[str, str]]]) -> str:
    from rich.console import Console
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    console = Console(force_terminal=True)
    options = [found for p in command.get_params(ctx) if (found := p.get_help_record(ctx))]
    help_text = "\n\n".join(" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n"))
    with console.capture() as captured:
        console.print(Text(ctx.get_usage()), Text(f"\n{help_text}\n"), sep="\n")
        for title, rows in {**panels, "Options": options}.items():
            table = Table.grid(padding=(0, 2))
            for name, meaning in rows:
                table.add_row(Text(name, style="bold cyan", overflow="fold"), Text(meaning))
            console.print(Panel(table, title=title, title_align="left", border_style="dim"))
        for paragraph in (command.epilog or "").replace("\b\n", "").split("\n\n"):
            console.print(Text(paragraph))
    return captured.get()


class Lazy(CommandGroup):
    """The commands of ``COMMANDS``, each imported when it is run; listing and completing them imports nothing."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that has a name, a summary and a panel."""
        if cmd_name not in COMMANDS:
            return None
        entry = COMMANDS[cmd_name]
        return TyperGroup(name=cmd_name, help=entry.summary, rich_help_panel=entry.panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is to run, or whose options are completed."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise unknown("command", args[0], COMMANDS)
        name, _, rest = super().resolve_command(ctx, args)
        return (name, load(name), rest) if name in COMMANDS else (name, None, rest)
