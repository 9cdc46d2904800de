"""bts-export: write a model as SavedModel or TFLite, for TensorFlow Serving too."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.app import Debug, one_line_errors, single_command

if TYPE_CHECKING:
    from toolkit.workflows.export import Target


class Format(StrEnum):
    """What a model can be written as."""

    savedmodel = "savedmodel"
    tflite = "tflite"


class Precision(StrEnum):
    """Numbers of a TFLite file."""

    float32 = "float32"
    float16 = "float16"
    dynamic = "dynamic"
    int8 = "int8"


def export(
    model: Annotated[Path, typer.Argument(help="Run folder, .keras file, or a name in saved_models/.")],
    formats: Annotated[
        list[Format] | None, typer.Option("--format", help="Repeatable; default: savedmodel.", show_default=False)
    ] = None,
    precisions: Annotated[
        list[Precision] | None,
        typer.Option(
            "--precision",
            help="Of TFLite: float16 and dynamic are smaller, int8 also faster. Repeatable; default: float32.",
            show_default=False,
        ),
    ] = None,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            "--size",
            metavar="HxW",
            help="Of slices that a TFLite file takes as stored. Repeatable; default: the model's grid.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Store of the training: what is compared, int8 calibrated; default: phantoms.")
    ] = None,
    serving: Annotated[Path | None, typer.Option(help="Model repository of TensorFlow Serving to add it to.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the model; default: its recipe's.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("saved_models"),
    debug: Debug = False,
) -> None:
    """Write a model for those who have not this toolkit, and prove that it says what Keras says.

    \b
    Examples:
      bts-export runs/figshare --out exported
      bts-export RUN --format tflite --precision int8 --data stores/figshare
      bts-export RUN --format tflite --size 256x256 --size 512x512
      bts-export runs/figshare --serving serving --out exported
    """
    with one_line_errors(debug):
        from toolkit.workflows.export import export as run

        report = run(model, _targets(formats, precisions, sizes), out, data, serving, name)
        typer.echo(f"compared with Keras: {report['asked_about']}")
        for file, row in report["exports"].items():
            change = "" if row["dice_change"] is None else f", Dice {row['dice_change']:+.4f}"
            typer.echo(
                f"{out / file}: {row['bytes'] / 1e6:.1f} MB, probability differs by at most "
                f"{row['max_difference']:.1e}{change}"
            )
        if "serving" in report:
            typer.echo(f"served from: {report['serving']}")
        typer.echo(f"parity: {out / 'parity.json'}\ncard: {out / 'MODEL_CARD.md'}")


def _targets(formats: list[Format] | None, precisions: list[Precision] | None, sizes: list[str] | None) -> list[Target]:
    """Every file that is asked for."""
    from toolkit.errors import UsageError
    from toolkit.workflows.export import Target

    chosen = formats or [Format.savedmodel]
    if (precisions or sizes) and Format.tflite not in chosen:
        raise UsageError("--precision and --size are of TFLite; add --format tflite")
    targets = [Target("savedmodel")] if Format.savedmodel in chosen else []
    if Format.tflite in chosen:
        planes = [_plane(size) for size in sizes] if sizes else [None]
        wanted = precisions or [Precision.float32]
        targets += [Target("tflite", precision.value, plane) for precision in wanted for plane in planes]
    return targets


def _plane(size: str) -> tuple[int, int]:
    from toolkit.errors import UsageError

    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    if match is None:
        raise UsageError(f"--size {size}: write it as HEIGHTxWIDTH in pixels, e.g. 512x512")
    return int(match[1]), int(match[2])


main = single_command(export)

if __name__ == "__main__":
    main()
