"""The commands and their arguments; each command's module is imported when it is called."""

from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from scalesearch.errors import UserError, is_interrupt

# What a disk or a system answers that is full, closed, read-only or at its limits.
_SYSTEM = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOLCK, errno.ENOTSUP, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT),
    *(errno.EISDIR, errno.ENOTDIR),
)
_INTERRUPTED = 130  # the shell's exit code for Ctrl-C


class _Commands(TyperGroup):
    """Ends an interrupted command in one line, wherever it was: in an import, in a measurement."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except BaseException as error:
            if not is_interrupt(error):
                raise
            print("stopped", file=sys.stderr)
            raise typer.Exit(_INTERRUPTED) from None


app = typer.Typer(
    cls=_Commands,
    name="scalesearch",
    help="Neural architecture and scaling search: from a budget to a family of networks you own.",
    # Rich help texts would triple the time of --help.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
)

coefficients_app = typer.Typer(
    name="coefficients",
    help="Coefficients from results that there are already.",
    rich_markup_mode=None,
    no_args_is_help=True,
)
app.add_typer(coefficients_app)

StudyFile = Annotated[Path, Argument(help="YAML file of the study.")]
Overrides = Annotated[
    list[str] | None, Argument(help="Settings that override the file's, such as search.trials=5.")
]
Network = Annotated[str, Argument(help="Published name, YAML file, or package.module:function.")]
Folder = Annotated[Path, Argument(help="Run folder, such as runs/quickstart.")]
OfDataSet = Annotated[
    int | None, Option(help="With --space: of the data set, if not as in the space's file.")
]
Json = Annotated[bool, Option("--json", help="Print JSON instead of a table.")]


def main() -> None:
    """Runs the command line; a user error is one message and exit code 2."""
    _make_printable()
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _SYSTEM:
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror}", file=sys.stderr)
        sys.exit(2)
    except ImportError as error:
        print(
            f"error: a package that scalesearch needs cannot be imported: {error}\n"
            "  install it anew: `pip install --force-reinstall scalesearch`",
            file=sys.stderr,
        )
        sys.exit(2)
    except UnicodeEncodeError as error:
        # Of a path: what is printed and written has been provided for.
        print(
            f"error: {error.object!r} cannot name a file here, where names are in {error.encoding}"
            "\n  set PYTHONUTF8=1, or a locale such as LC_ALL=C.UTF-8",
            file=sys.stderr,
        )
        sys.exit(2)


def _make_printable() -> None:
    r"""Lets any text be printed: what the terminal's encoding lacks is written as `\\u00e9`.

    Where the caller has closed standard output or error, what is printed is dropped.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # else the next file that is opened would get what libraries print
    os.close(number)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def explicit(context: typer.Context) -> set[str]:
    """The parameters of a command that are given on the command line."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source and source.name == "COMMANDLINE"}


@app.command()
def run(
    study: StudyFile,
    overrides: Overrides = None,
    folder: Annotated[Path | None, Option(help="Run folder; runs/NAME by default.")] = None,
    quiet: Annotated[bool, Option("--quiet", "-q", help="Print only the results.")] = False,
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Try the trials again that failed in earlier runs.")
    ] = False,
) -> None:
    """Run a study, or resume it: search, confirm, grid, family, report, export."""
    from scalesearch.cli.run import run_study

    run_study(study, overrides or [], folder, quiet, retry_failed)


@app.command(name="import-trials")
def import_trials(
    study: StudyFile,
    table: Annotated[Path, Argument(help="CSV, JSON or Parquet file of results.")],
    overrides: Overrides = None,
    metric: Annotated[str | None, Option(help="Its column; the objective's by default.")] = None,
    direction: Annotated[
        str | None, Option(help="minimize, where less is better: its sign is changed.")
    ] = None,
    folder: Annotated[Path | None, Option(help="Run folder; runs/NAME by default.")] = None,
) -> None:
    """Add known results to a study, so that its search starts warm."""
    from scalesearch.study.known import import_known

    added, notes = import_known(study, table, overrides or [], metric, direction, folder)
    for note in notes:
        print(f"note  {note}")
    goes_on = "; `scalesearch run` goes on from them" if added else ""
    print(f"{added} results were added{goes_on}")


@app.command()
def check(
    study: StudyFile,
    overrides: Overrides = None,
    samples: Annotated[int, Option(min=1, help="Networks drawn from the space.")] = 10_000,
) -> None:
    """Validate a study and print its size: space, limits, grid, time."""
    from scalesearch.cli.check import check_study

    check_study(study, overrides or [], samples)


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """Show the progress of a run, and its best trials so far."""
    from scalesearch.cli.status import show_status

    show_status(folder, as_json)


@app.command()
def report(folder: Folder) -> None:
    """Draw the figures and the page of a run again."""
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
        str | None, Argument(help="Published name, YAML file, or package.module:function.")
    ] = None,
    resolution: Annotated[
        str | None, Option(help="Pixels, 224 or 480x640, instead of the network's own.")
    ] = None,
    batch: Annotated[int, Option(min=1, help="Images in a training step.")] = 32,
    optimizer: Annotated[str, Option(help="sgd (with momentum), adamw or rmsprop.")] = "sgd",
    precision: Annotated[str, Option(help="float32, bf16 or float16.")] = "float32",
    measured: Annotated[bool, Option("--measured", help="Also count with fvcore.")] = False,
    latency: Annotated[bool, Option("--latency", help="Also time a forward pass.")] = False,
    device: Annotated[str | None, Option(help="For latency: cpu or cuda.")] = None,
    latency_batch: Annotated[int | None, Option(help="For latency: images; 1 by default.")] = None,
    threads: Annotated[int | None, Option(help="For latency: CPU threads; 1 by default.")] = None,
    space: Annotated[
        Path | None, Option(help="Instead of a network: time every block of this space.")
    ] = None,
    latency_out: Annotated[
        Path | None, Option(help="With --space: the table to write, or to resume.")
    ] = None,
    in_channels: OfDataSet = None,
    num_classes: OfDataSet = None,
    as_json: Json = False,
) -> None:
    """Print what a network costs, stage by stage; or measure the latency table of a space."""
    from scalesearch.cli.profile import Options, deployment_of, require_meaningful, show_profile

    require_meaningful(explicit(context))
    deployment = deployment_of(device=device, batch=latency_batch, threads=threads)
    if space is not None:
        from scalesearch.cli.latency_table import show_table

        images = {"in_channels": in_channels, "num_classes": num_classes}
        show_table(space, latency_out, deployment, images, as_json)
        return
    assert network is not None  # require_meaningful has seen to it
    options = Options(
        resolution=resolution,
        batch=batch,
        optimizer=optimizer,
        precision=precision,
        measured=measured,
        deployment=deployment if latency else None,
    )
    show_profile(network, options, as_json)


@app.command()
def scale(
    network: Network,
    phi: Annotated[
        float | None, Option(help="How far to scale; may be fractional or negative.")
    ] = None,
    flops: Annotated[
        str | None, Option(help="Instead of phi: the most FLOPs, such as 1.8G.")
    ] = None,
    params: Annotated[
        str | None, Option(help="Instead of phi: the most parameters, such as 12M.")
    ] = None,
    memory: Annotated[
        str | None, Option(help="Instead of phi: the most training memory, such as 512MiB.")
    ] = None,
    latency: Annotated[
        str | None, Option(help="Instead of phi: the longest forward pass, such as 20ms.")
    ] = None,
    batch: Annotated[int, Option(min=1, help="Images in a training step.")] = 32,
    table: Annotated[
        Path | None, Option(help="Latency table that predicts; without one it is measured here.")
    ] = None,
    strategy: Annotated[
        str, Option(help="compound, depth, width, resolution, fast_compound, d1_w8_r1, ...")
    ] = "compound",
    match: Annotated[
        str | None, Option(help="measured: meet FLOPs within 2 %; nominal: round as the paper.")
    ] = None,
    alpha: Annotated[float | None, Option(help="Coefficient of depth.")] = None,
    beta: Annotated[float | None, Option(help="Coefficient of width.")] = None,
    gamma: Annotated[float | None, Option(help="Coefficient of resolution.")] = None,
    head_scaling: Annotated[
        str | None, Option(help="Width of the head: scale (default), keep, or grow.")
    ] = None,
    neck_width: Annotated[float | None, Option(help="Detectors: width of the neck.")] = None,
    neck_depth: Annotated[float | None, Option(help="Detectors: neck layers per phi.")] = None,
    head_depth: Annotated[float | None, Option(help="Detectors: head layers per phi.")] = None,
    resolution: Annotated[float | None, Option(help="Detectors: pixels per phi.")] = None,
    coefficients: Annotated[
        Path | None, Option(help="coefficients.yaml of a run, instead of the numbers.")
    ] = None,
    dropout_per_phi: Annotated[
        float | None, Option(help="Let dropout grow: 0.05 as EfficientNet's, in tenths up to 0.5.")
    ] = None,
    drop_path_per_phi: Annotated[
        float | None, Option(help="Let stochastic depth grow, in tenths up to 0.5.")
    ] = None,
    output: Annotated[Path | None, Option("--output", "-o", help="YAML to write.")] = None,
) -> None:
    """Scale a network by phi, or to the largest within limits, and print it before and after.

    Coefficients of a classifier are alpha, beta and gamma; with a limit they default to
    EfficientNet's 1.2, 1.1 and 1.15, and those of a detector to EfficientDet's.
    """
    from scalesearch.cli.scale import Target, rates_of, show_scaled

    numbers = {"alpha": alpha, "beta": beta, "gamma": gamma, "resolution": resolution}
    numbers |= {"neck_width": neck_width, "neck_depth": neck_depth, "head_depth": head_depth}
    given = {**numbers, "head_scaling": head_scaling, "match": match}
    limits = {"flops": flops, "params": params, "memory": memory, "latency": latency}
    rates = rates_of({"dropout": dropout_per_phi, "drop_path": drop_path_per_phi})
    target = Target(
        phi=phi, limits=limits, batch=batch, table=table, strategy=strategy, regularisation=rates
    )
    show_scaled(network, given, coefficients, target, output)


@app.command()
def export(
    network: Annotated[str, Argument(help="Run folder, or a network's name or file.")],
    options: Annotated[
        list[str] | None,
        Argument(help="Options of the format, such as outputs=detections size=[384,640]."),
    ] = None,
    output: Annotated[Path | None, Option("--output", "-o", help="File to write.")] = None,
    form: Annotated[
        str, Option("--format", help="python, onnx, torch_export, or package.module:Name.")
    ] = "python",
    weights: Annotated[
        str | None, Option(help="A weights file, timm:NAME, torchvision:NAME or effdet:NAME.")
    ] = None,
    fold: Annotated[
        bool | None,
        Option(
            "--fold/--no-fold",
            help="Fold batch norms; by default all formats but python do.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a network, or every winner of a run, as a file that does not need scalesearch."""
    from scalesearch.cli.export import export_network, exporter_settings

    export_network(network, exporter_settings(form, fold, options or []), output, weights)


@coefficients_app.command()
def fit(
    table: Annotated[Path, Argument(help="CSV, JSON or Parquet file, a row for each result.")],
    base: Annotated[
        str, Option(help="The network to scale, in the table's units: width=0.5,resolution=128.")
    ],
    double: Annotated[bool, Option("--double", help="Twice the cost, as --budget 2.")] = False,
    budget: Annotated[
        float | None, Option(help="Times the base's cost; 2 by default, below 1 to shrink.")
    ] = None,
    where: Annotated[
        list[str] | None, Option(help="COLUMN=VALUE: only these rows; may be repeated.")
    ] = None,
    metric: Annotated[
        str | None, Option(help="Column of accuracy or error; by its name by default.")
    ] = None,
    direction: Annotated[
        str | None, Option(help="minimize an error, maximize an accuracy; by its name by default.")
    ] = None,
    cost: Annotated[
        str | None,
        Option(
            help="flops or latency of the table, or nominal; flops by default if all have them."
        ),
    ] = None,
    limit: Annotated[
        list[str] | None, Option(help="beta=1:1.3: limits of a coefficient; may be repeated.")
    ] = None,
    noise: Annotated[
        float | None, Option(help="Standard deviation over seeds in points, if it is known.")
    ] = None,
    draws: Annotated[int, Option(help="Surfaces drawn for the intervals.")] = 1000,
    output: Annotated[Path, Option("--output", "-o", help="YAML to write, and a PNG beside.")] = (
        Path("coefficients.yaml")
    ),
) -> None:
    """Fit coefficients to a table of results, and say how sure they are."""
    from scalesearch.cli.coefficients import limits_of, request_of, show_fit

    request = request_of(
        base=base,
        budget=budget,
        double=double,
        where=where or [],
        metric=metric,
        direction=direction,
        cost=cost,
        noise=noise,
    )
    show_fit(table, request, limits_of(limit or []), draws, output)
