"""bts-train: train the model of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.app import Debug, one_line_errors, single_command


def train(
    recipe: Annotated[str, typer.Argument(help="YAML file, or the name of a recipe that ships.")],
    data: Annotated[Path | None, typer.Option(help="Store made by bts-prepare; default: the recipe's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default: runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a value of the recipe; repeatable."),
    ] = None,
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
    """
    with one_line_errors(debug):
        from toolkit.workflows.train import train as run

        metrics, folder = run(recipe, data, out, resume, set_ or [])
        dice, (low, high) = (
            metrics["per_image_mean"]["dice"],
            metrics["confidence_95"]["dice"] or (None, None),
        )
        typer.echo(
            f"validation: mean Dice {dice:.3f}"
            + (f" (95 % interval {low:.3f} to {high:.3f})" if low is not None else "")
            + f", {metrics['n_images']} pictures of {metrics['n_patients']} patients"
        )
        typer.echo(f"model: {folder / 'best.keras'}\nreport: {folder / 'report.html'}")


main = single_command(train)

if __name__ == "__main__":
    main()
