"""bts-train: train the model of a recipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.app import Debug, one_line_errors, single_command

FILE_WIDTH = 140  # columns of a table that is not printed on a terminal


def train(
    recipe: Annotated[str | None, typer.Argument(help="YAML file, or the name of a recipe that ships.")] = None,
    data: Annotated[Path | None, typer.Option(help="Store made by bts-prepare; default: the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; repeatable."),
    ] = None,
    list_models: Annotated[
        bool, typer.Option("--list-models", help="Print networks and encoders: size, cost, licence of the weights.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Train a model, keep the best on validation, and judge it there.

    Stop it with Ctrl-C at any moment and go on with --resume. Watch it with
    `tensorboard --logdir runs`.

    \b
    Examples:
      bts-train figshare --data stores/figshare --out runs/figshare
      bts-train figshare --data stores/figshare --out runs/figshare --resume
      bts-train tiny --data stores/phantom --set training.epochs=5 --set seed=2
      bts-train enhancer_lgg --data stores/lgg
      bts-train figshare --data stores/figshare --set model.enhancer.weights=runs/enhancer_lgg
      bts-train --list-models
    """
    with one_line_errors(debug):
        if list_models:
            _print_models()
            return
        if recipe is None:
            from toolkit.errors import UsageError

            raise UsageError("no recipe; name one (bts-train figshare --data STORE), or see --list-models")
        from toolkit.workflows.train import train as run

        metrics, folder = run(recipe, data, out, resume, set_ or [])
        for line in _summary(metrics):
            typer.echo(line)
        shown = "report.html" if "per_image_mean" in metrics else "restoration.png"
        typer.echo(f"model: {folder / 'best.keras'}\nreport: {folder / shown}")


def _summary(metrics: dict[str, Any]) -> Iterator[str]:
    """What was reached on the validation part, a line or a few."""
    if damages := metrics.get("inside_the_head"):
        for damage, methods in damages.items():
            before, after = methods["damaged"], methods["enhancer"]
            drift = f", {after['drift_removed']['mean']:.0%} of the drift removed" if "drift_removed" in after else ""
            yield (
                f"validation, {damage}: PSNR {before['psnr']['mean']:.2f} -> {after['psnr']['mean']:.2f} dB, "
                f"SSIM {before['ssim']['mean']:.3f} -> {after['ssim']['mean']:.3f}{drift}"
            )
        return
    interval = metrics["confidence_95"]["dice"]
    yield (
        f"validation: mean Dice {metrics['per_image_mean']['dice']:.3f}"
        + (f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
        + f", {metrics['n_images']} pictures of {metrics['n_patients']} patients"
    )


def _print_models() -> None:
    """Print networks, then encoders alone, as one table; on a terminal it grows while they are counted."""
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    from toolkit.models.zoo import LISTED_SIZE, list_encoders, list_models

    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    table = Table("network", "encoder", title="Models")
    for heading in ("parameters", f"GFLOPs a slice of {LISTED_SIZE} x {LISTED_SIZE}"):
        table.add_column(heading, justify="right")
    for heading in ("weights at the start", "their licence"):
        table.add_column(heading)
    with Live(table, console=console):
        for entries in (list_models(), list_encoders()):
            for name, encoder, parameters, gflops, start, licence in entries:
                table.add_row(name or "", encoder or "-", f"{parameters:,}", f"{gflops:.2f}", start, licence or "-")
            table.add_section()


main = single_command(train)

if __name__ == "__main__":
    main()
