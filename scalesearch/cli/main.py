"""The commands and their arguments; what each does is imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from scalesearch.errors import UserError

app = typer.Typer(
    name="scalesearch",
    help="Neural architecture and scaling search: from a budget to a family of networks you own.",
    # Rich help texts would triple the time of --help.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)

StudyFile = Annotated[Path, typer.Argument(help="YAML file of the study.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings in place of the file's, such as search.trials=5."),
]
Network = Annotated[
    str, typer.Argument(help="Published name, YAML file, or package.module:function.")
]
Folder = Annotated[Path, typer.Argument(help="Run folder, such as runs/quickstart.")]
Resolution = Annotated[
    str | None,
    typer.Option(help="Pixels of the input, 224 or 480x640, in place of the network's own."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Runs the command line; a user's mistake is one message and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def given_by(context: typer.Context) -> set[str]:
    """The parameters of a command that were written on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


@app.command()
def run(
    study: StudyFile,
    overrides: Overrides = None,
    folder: Annotated[
        Path | None, typer.Option(help="Run folder; runs/<name of the study> by default.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the results alone.")] = False,
) -> None:
    """Run a study, or go on with it: search, grid, family, report, export."""
    from scalesearch.cli.run import run_study

    run_study(study, overrides or [], folder, quiet)


@app.command()
def check(
    study: StudyFile,
    overrides: Overrides = None,
    samples: Annotated[int, typer.Option(min=1, help="Networks drawn from the space.")] = 10_000,
) -> None:
    """Validate a study and say how large it is: space, limits, grid, time."""
    from scalesearch.cli.check import check_study

    check_study(study, overrides or [], samples)


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """Show how far a run has got, and its best trials so far."""
    from scalesearch.cli.status import show_status

    show_status(folder, as_json)


@app.command()
def report(folder: Folder) -> None:
    """Draw the figures and the page of a run anew."""
    from scalesearch.cli.status import make_report

    make_report(folder)


@app.command(name="list")
def list_all(as_json: Json = False) -> None:
    """List published networks with their costs, and all plug-ins that a YAML file can name."""
    from scalesearch.cli.list import show_names

    show_names(as_json)


@app.command()
def profile(
    context: typer.Context,
    network: Annotated[
        str | None, typer.Argument(help="Published name, YAML file, or package.module:function.")
    ] = None,
    resolution: Resolution = None,
    batch: Annotated[int, typer.Option(min=1, help="Images in a training step.")] = 32,
    optimizer: Annotated[str, typer.Option(help="sgd (with momentum), adamw or rmsprop.")] = "sgd",
    precision: Annotated[str, typer.Option(help="float32, bf16 or float16.")] = "float32",
    measured: Annotated[
        bool, typer.Option("--measured", help="Also build it and count by fvcore.")
    ] = False,
    latency: Annotated[
        bool, typer.Option("--latency", help="Also measure how long a forward pass takes.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="Of latency: cpu or cuda.")] = None,
    latency_batch: Annotated[
        int | None, typer.Option(help="Of latency: images in a forward pass; 1 by default.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Of latency: threads of the CPU; 1 by default.")
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(help="In place of a network: measure the latency of every block of a space."),
    ] = None,
    latency_out: Annotated[
        Path | None, typer.Option(help="Of --space: the table to write, or to go on with.")
    ] = None,
    in_channels: Annotated[
        int | None, typer.Option(help="Of --space: of the data set, if not as in its file.")
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option(help="Of --space: of the data set, if not as in its file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a network costs, stage by stage; or measure the latency table of a space."""
    from scalesearch.cli.latency import Images, chosen_deployment, require_sense, show_table

    require_sense(given_by(context))
    wanted = latency or space is not None
    deployment = chosen_deployment(wanted, device, latency_batch, threads)
    if space is not None and deployment is not None:
        show_table(space, latency_out, deployment, Images(in_channels, num_classes), as_json)
        return
    assert network is not None  # or it made no sense
    from scalesearch.cli.profile import Extras, Training, show_profile

    training = Training(batch, optimizer, precision)
    show_profile(network, resolution, training, Extras(measured, deployment), as_json)


@app.command()
def scale(
    network: Network,
    phi: Annotated[float, typer.Option(help="How far; a fraction or negative, too.")],
    alpha: Annotated[float | None, typer.Option(help="Coefficient of depth.")] = None,
    beta: Annotated[float | None, typer.Option(help="Coefficient of width.")] = None,
    gamma: Annotated[float | None, typer.Option(help="Coefficient of resolution.")] = None,
    neck_width: Annotated[
        float | None, typer.Option(help="Of a detector: growth of its neck's width.")
    ] = None,
    neck_depth: Annotated[
        float | None, typer.Option(help="Of a detector: layers that each phi adds to its neck.")
    ] = None,
    head_depth: Annotated[
        float | None, typer.Option(help="Of a detector: layers that each phi adds to its heads.")
    ] = None,
    resolution: Annotated[
        float | None, typer.Option(help="Of a detector: pixels that each phi adds to its input.")
    ] = None,
    coefficients: Annotated[
        Path | None, typer.Option(help="coefficients.yaml of a run, in place of the numbers.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="YAML to write.")] = None,
) -> None:
    """Scale a network by compound coefficients and print it before and after.

    A classifier needs alpha, beta and gamma; a detector's coefficients are EfficientDet's own
    where they are not given.
    """
    from scalesearch.cli.scale import show_scaled

    given = {
        "alpha": alpha,
        "beta": beta,
        "gamma": gamma,
        "neck_width": neck_width,
        "neck_depth": neck_depth,
        "head_depth": head_depth,
        "resolution": resolution,
    }
    show_scaled(network, given, coefficients, phi, output)


@app.command()
def export(
    network: Annotated[str, typer.Argument(help="Run folder, or a network's name or file.")],
    options: Annotated[
        list[str] | None,
        typer.Argument(help="Options of the format, such as outputs=detections size=[384,640]."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write, or a run's export/.")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="python, onnx, torch_export, or package.module:Name.")
    ] = "python",
    weights: Annotated[
        str | None,
        typer.Option(
            help="A weights file, timm:NAME, torchvision:NAME or effdet:NAME; a run has its own."
        ),
    ] = None,
    fold: Annotated[
        bool | None,
        typer.Option(
            "--fold/--no-fold",
            help="Fold batch norms for inference; as the format has it by default: python does "
            "not, onnx and torch_export do.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a network, or every winner of a run, in a form that lives without scalesearch."""
    from scalesearch.cli.export import export_network

    export_network(network, output, (form, fold, options or []), weights)
