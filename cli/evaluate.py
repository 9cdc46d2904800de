"""bts-evaluate: all metrics of a model on a store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.app import Debug, one_line_errors, single_command


class Part(StrEnum):
    """Parts of a split."""

    train = "train"
    val = "val"
    test = "test"


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="Run folder, .keras or .tflite file, SavedModel folder, or a name in saved_models/.")
    ],
    data: Annotated[Path, typer.Option(help="Store made by bts-prepare.")],
    split: Annotated[Part, typer.Option(help="Part of the split; open test once, at the end.")] = Part.val,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bts-evaluation"),
    debug: Debug = False,
) -> None:
    """Judge a model by patient: per picture, pooled, per patient and per lesion.

    \b
    Examples:
      bts-evaluate runs/figshare --data stores/figshare --out evaluation
      bts-evaluate runs/figshare --data stores/figshare --split test --out evaluation-test
    """
    with one_line_errors(debug):
        from toolkit.workflows.evaluate import evaluate as run

        metrics = run(model, data, split.value, out)
        intervals = metrics["confidence_95"]
        typer.echo(
            f"{split.value} split ({metrics['split']}): {metrics['n_images']} pictures, "
            f"{metrics['n_patients']} patients, {metrics['n_empty']} pictures without tumour "
            f"({metrics['empty_mask_rule']})"
        )
        if metrics["split_leaks_patients"]:
            typer.echo("warning: this split leaks patients, so every number is too good", err=True)
        for name, value in metrics["per_image_mean"].items():
            interval = intervals[name]
            between = f"  [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
            typer.echo(f"  {name:12s} {'undefined' if value is None else f'{value:.3f}'}{between}")
        typer.echo(f"report: {out / 'report.html'}\npicture: {out / 'examples.png'}")


main = single_command(evaluate)

if __name__ == "__main__":
    main()
