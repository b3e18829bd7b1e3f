"""``nid plot``: one command for each figure, made from the pipeline's table of figures."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any

import typer

from nid_cli.analysis.catalog import METHODS, REPAIRS, SIMILARITIES, SINCE
from nid_cli.analysis.parameters import LmcParameters
from nid_cli.cli import options, output, render, report
from nid_cli.cli.commands import COMMANDS, App, CommandGroup
from nid_cli.cli.planning import hand_over
from nid_cli.cli.selectors import SELECTORS, selection
from nid_cli.nets.graph import SITES
from nid_cli.pipeline.context import Context
from nid_cli.pipeline.figures.options import reader
from nid_cli.pipeline.figures.table import FIGURES, REPORT, REPORT_NEEDS, FigureEntry
from nid_cli.pipeline.sweeps.parts import Engines, Part
from nid_cli.records.figures import FigureFile, FigureListing
from nid_cli.records.table import Joined
from nid_cli.specs import ALIGNMENTS, MERGES, SPLITS, Selection

app = App(
    cls=CommandGroup,
    help=COMMANDS["plot"].summary,
    rich_markup_mode=None,
    invoke_without_command=True,
)


@app.callback(epilog=options.examples("nid plot --list", "nid plot lmc --arch mlp --out lmc.pdf"))
def _figures(
    typer_context: typer.Context,
    listed: Annotated[bool, typer.Option("--list", help="Describe each figure with what it needs.")] = False,
    as_json: options.Json = False,
) -> None:
    """Draw figures from recorded results; what is missing is named with the command that makes it."""
    if typer_context.invoked_subcommand is not None:
        return
    if not listed:
        render.say(typer_context.get_help())
        raise typer.Exit(2)
    listing = [
        *(FigureListing(figure=n, needs=list(kind.needs), description=kind.description) for n, kind in FIGURES.items()),
        FigureListing(figure="report", needs=list(REPORT_NEEDS), description=REPORT),
    ]
    rows = [(one.figure, "; ".join(one.needs), one.description) for one in listing]
    output.show(
        FigureListing,
        [one.values() for one in listing],
        as_json=as_json,
        export=None,
        human=lambda: render.table(("figure", "needs", "shows"), rows),
    )


Out = Annotated[Path, typer.Option("--out", metavar="FILE.pdf|.png|.svg", help="The file to draw.")]
Columns = Annotated[
    int | None, typer.Option("--columns", metavar="1|2", help="As wide as one or two columns of a page [what suits].")
]
Small = Annotated[bool, typer.Option("--small", help="A .png for a web page: 130 dpi instead of 300, 256 colours.")]
Compute = Annotated[bool, typer.Option("--compute", help="Compute the results that are missing.")]
ExportRows = Annotated[
    str | None,
    typer.Option("--export", metavar="FILE", help="Write what is drawn: .json, .jsonl, .csv or .parquet; - is stdout."),
]


def _text(option: str, metavar: str, text: str, complete: options.Completion | None = None) -> Any:
    return Annotated[str, typer.Option(option, metavar=metavar, help=text, autocompletion=complete)]


def _whole(option: str, text: str) -> Any:
    return Annotated[int, typer.Option(option, metavar="N", help=text)]


COMMON: dict[str, tuple[Any, Any]] = {
    "columns": (Columns, None),
    "small": (Small, False),
    "compute": (Compute, False),
    "export": (ExportRows, None),
    "device": (options.Device, "auto"),
    "registry": (options.RegistryOption, None),
    "data_dir": (options.DataDir, None),
    "as_json": (options.Json, False),
}


NAMES = [column.name for column in Joined.columns()]
AGAINST = "kappa|fixed|epoch|PARAMETER"
# The figures' own options; one that two figures understand differently is listed as figure.option.
OWN: dict[str, Any] = {
    "pairs": options.Pairs,
    "lmc.pairs": options.PairsOrEpochs,
    "anatomy.pairs": options.PairsOrEpochs,
    "align": Annotated[
        str | None,
        typer.Option(
            "--align",
            metavar=",".join(ALIGNMENTS),
            help=f"Which alignments [{','.join(LmcParameters().align)}; of two epochs of one model none].",
            autocompletion=options.several(ALIGNMENTS),
        ),
    ],
    "merge.align": _text("--align", ",".join(MERGES), "Which alignments.", options.several(MERGES)),
    "counts": Annotated[
        str | None,
        typer.Option(
            "--counts", metavar="N[,N..]", help="Merges of the first so many of the chosen models [all of them]."
        ),
    ],
    "bn_reset": options.BnReset,
    "learn_steps": options.LearnSteps,
    "repair": options.Repair,
    "anatomy.repair": _text(
        "--repair", ",".join(("none", *REPAIRS)), "Side by side, as measured.", options.several(("none", *REPAIRS))
    ),
    "points": _whole("--points", "Points on each segment, as they were measured."),
    "split": _text("--split", "|".join(SPLITS), "Which split.", options.among(SPLITS)),
    "training.split": _text("--split", ",".join(SPLITS), "Columns of panels, left to right.", options.several(SPLITS)),
    "against": _text(
        "--against",
        AGAINST,
        "The horizontal axis; fixed is the share of fixed weights.",
        options.among(("kappa", "fixed", "epoch")),
    ),
    "coherence.against": _text("--against", "layer|epoch", "The horizontal axis.", options.among(("layer", "epoch"))),
    "barrier.kind": _text(
        "--kind",
        "chord|max|mid",
        "Above the chord, above the worse end, or at the midpoint.",
        options.among(("chord", "max", "mid")),
    ),
    "cost.kind": _text(
        "--kind", "matrix|distribution|scatter", "What is drawn.", options.among(("matrix", "distribution", "scatter"))
    ),
    "at": _text("--at", "|".join(SITES), "Where neurons are recorded.", options.among(SITES)),
    "similarity": _text(
        "--similarity", "|".join(SIMILARITIES), "How neurons are compared.", options.among(SIMILARITIES)
    ),
    "since": _text(
        "--since", "|".join(SINCE), "What updates count from: epoch 0, or the saved epoch before.", options.among(SINCE)
    ),
    "x": _text("--x", "COLUMN", "What lies across; nid table --list-columns names all.", options.among(NAMES)),
    "y": _text("--y", "COLUMN", "What lies upwards.", options.among(NAMES)),
    "log_x": Annotated[bool, typer.Option("--log-x", help="A logarithmic scale across.")],
    "log_y": Annotated[bool, typer.Option("--log-y", help="A logarithmic scale upwards.")],
    "overlay": Annotated[
        str | None,
        typer.Option(
            "--overlay",
            metavar="paper|FILE.json",
            help="Others' values as crosses: the paper's, or an --export.",
            autocompletion=options.among(("paper",)),
        ),
    ],
    "across": _text(
        "--across",
        "layer|PARAMETER",
        "Columns of panels: layers, or a parameter of the data.",
        options.among(("layer",)),
    ),
    "method": _text("--method", ",".join(METHODS), "Which estimates.", options.several(METHODS)),
    "layers": options.LayersOption,
    "betas": _text("--betas", "B[,B..]", "Ridge: temperatures."),
    "samples": _whole("--samples", "Samples of the kernels, as they were measured."),
    "neurons": _whole("--neurons", "Ridge: so many neurons, as they were measured."),
    "explained_variance": options.ExplainedVariance,
    "copies": _whole("--copies", "Copies of the inputs; 1..N of them active."),
    "width": _whole("--width", "Hidden neurons."),
    "density": Annotated[float, typer.Option("--density", metavar="P", help="Probability that a weight is trained.")],
    "outer_seeds": _whole("--outer-seeds", "Draws of mask, data and frame."),
    "num_pairs": _whole("--num-pairs", "Pairs of models for each draw."),
    "epochs": _whole("--epochs", "Epochs."),
}
# The text of a default, where it is none already.
SHOWN = {"betas": ".01"}

EXAMPLES: dict[str, tuple[str, ...]] = {
    "lmc": (
        "nid plot lmc --arch mlp --out lmc.pdf",
        "nid plot lmc --dataset mnist --split test --out lmc.png",
        "nid plot lmc --symmetry w --pairs epochs --out path.pdf",
        "nid plot lmc --dataset mnist --points 37 --overlay paper --out lmc.pdf",
    ),
    "anatomy": (
        "nid plot anatomy --symmetry standard --symmetry w --out anatomy.pdf",
        "nid plot anatomy --symmetry standard --repair none,exact --compute --out anatomy.pdf",
        "nid plot anatomy --arch resnet --align none,activation,weight --compute --out anatomy.png",
    ),
    "barrier": (
        "nid plot barrier --symmetry w --out barrier.pdf",
        "nid plot barrier --dataset mnist-coherence --against coherence --out barrier.pdf",
    ),
    "match": (
        "nid plot match --symmetry w --symmetry standard --out match.pdf",
        "nid plot match --against epoch --compute --out match.png --export match.csv",
    ),
    "similarity": (
        "nid plot similarity --symmetry w --symmetry standard --out similarity.pdf",
        "nid plot similarity --group mlp-digits-w-k1 --epochs 10,30 --split train --out similarity.pdf",
    ),
    "merge": (
        "nid plot merge --dataset digits --symmetry standard --symmetry w --out merge.pdf",
        "nid plot merge --group mlp-digits-standard --counts 2,4,8 --compute --out merge.pdf",
    ),
    "cost": (
        "nid plot cost --dataset mnist --layers 0,1,2 --out cost.pdf",
        "nid plot cost --dataset gaussian-subspace --across k --method mahalanobis,ridge --neurons 64 --layers 0 "
        "--out cost.pdf",
        "nid plot cost --kind scatter --layers 0 --out scatter.pdf",
    ),
    "coherence": ("nid plot coherence --out coherence.pdf", "nid plot coherence --against epoch --out coherence.pdf"),
    "ntk": (
        "nid plot ntk --dataset digits --out ntk.pdf",
        "nid plot ntk --symmetry w --samples 200 --split test --compute --out ntk.png",
    ),
    "relate": (
        "nid plot relate --x swap_index --y share_identity --out relate.pdf",
        "nid plot relate --dataset digits --x median_swap_squared --log-x --y test_error_barrier --out relate.pdf",
    ),
    "synthetic": ("nid plot synthetic --out synthetic.pdf",),
    "training": ("nid plot training --dataset digits --split train,val,test --out training.pdf",),
    "summary": ("nid plot summary --group mlp-digits-w-k1 --compute --out summary.pdf",),
}


def _command(name: str, kind: FigureEntry) -> Callable[..., None]:
    """The command of one figure: the selectors, the figure's own options, and what all figures take."""

    def command(**given: Any) -> None:
        from nid_cli.pipeline.figures.draw import FORMATS, check_target, is_drawn, plot

        output.check(given["export"])
        chosen = selection(**{n: given[n] for n in kind.selectors})
        own = {n: reader(n, usual)(given[n]) for n, usual in kind.options.items()}
        check_target(given["out"], (".png",) if given["small"] else FORMATS)

        def drawn(context: Context, selection: Selection | None) -> FigureFile:
            record, rows = plot(
                context,
                name,
                selection or chosen,
                given["out"],
                own,
                columns=given["columns"],
                small=given["small"],
                compute=given["compute"],
            )
            if given["export"] is not None:
                output.write_rows(f"nid.plot.{name}/1", rows, given["export"])
            return record

        def only_draw(context: Context, selection: Selection | None, engines: Engines) -> None:
            render.say(f"drew {drawn(context, selection).path}")

        about = chosen if kind.selectors else None

        def is_there(context: Context) -> bool:
            return given["export"] is None and is_drawn(context, name, given["out"])

        shown, target = f"{name} {given['out']}", given["out"]
        if hand_over(Part(kind="plot", name=shown, selection=about, run=only_draw, target=target, is_there=is_there)):
            return
        with options.context(given["registry"], given["data_dir"], given["device"]) as context:
            record = drawn(context, chosen)
        if given["export"] != "-":
            output.show(
                FigureFile,
                [record.values()],
                as_json=given["as_json"],
                export=None,
                human=lambda: render.say(f"drew {record.path}"),
            )

    def parameter(option: str, annotation: Any, default: Any) -> Parameter:
        return Parameter(option, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)

    own = {
        option: (
            OWN.get(f"{name}.{option}") or OWN.get(option) or _plain(option, default),
            SHOWN.get(option, ",".join(map(str, default)) if isinstance(default, tuple) else default),
        )
        for option, default in kind.options.items()
    }
    taken = {n: declared for n, declared in SELECTORS.items() if n in kind.selectors} | own | COMMON
    # Typer reads a command's options from its signature.
    command.__signature__ = Signature(  # type: ignore[attr-defined]
        [parameter("out", Out, Parameter.empty), *(parameter(n, *declared) for n, declared in taken.items())]
    )
    command.__doc__ = kind.description[0].upper() + kind.description[1:] + f". Needs: {'; '.join(kind.needs)}."
    return command


def _plain(option: str, default: Any) -> Any:
    """An option that ``OWN`` does not describe: of the type of its default, or text (of several, a comma list)."""
    kind: Any = str | None if default is None else str if isinstance(default, tuple) else type(default)
    return Annotated[kind, typer.Option(f"--{option.replace('_', '-')}", help="An option of this figure.")]


def _examples(name: str) -> str:
    return options.examples(*EXAMPLES.get(name, (f"nid plot {name} --out {name}.pdf",)))


for _name, _entry in FIGURES.items():
    app.command(_name, epilog=_examples(_name))(_command(_name, _entry))

app.command("report", epilog=report.EXAMPLES)(report.report)
