"""bts-evaluate: all metrics of a model on a store."""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.app import Debug, one_line_errors, single_command
from cli.asking import DropoutSamples, Flips, Tiles, settings

SHOWN_CANDIDATES = 10
# How numbers are written in each column of the calibration.
COLUMNS = {"before": ".4f", "after": ".4f", "difference": "+.4f"}


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
    ensemble: Annotated[
        list[Path] | None, typer.Option(metavar="MODEL", help="Another model, which answers together with the first.")
    ] = None,
    tta: Flips = False,
    mc_dropout: DropoutSamples = 0,
    tiles: Tiles = False,
    no_postprocessing: Annotated[bool, typer.Option("--no-postprocessing", help="Threshold only.")] = False,
    choose_postprocessing: Annotated[
        bool,
        typer.Option("--choose-postprocessing", help="Instead, store what does best on val in the run's model file."),
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate", help="Instead, store what calibrates it on val in the run's model file."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Judge a model by patient: per picture, pooled, per patient and per lesion.

    \b
    Examples:
      bts-evaluate runs/figshare --data stores/figshare --out evaluation
      bts-evaluate runs/figshare --data stores/figshare --split test --out evaluation-test
      bts-evaluate runs/a --ensemble runs/b --tta --data stores/figshare --out evaluation-both
      bts-evaluate runs/figshare --data stores/figshare --choose-postprocessing
      bts-evaluate runs/figshare --data stores/figshare --calibrate
    """
    with one_line_errors(debug):
        if choose_postprocessing or calibrate:
            _refuse_misuse(choose_postprocessing, calibrate, split)
            if ensemble or tta or mc_dropout or tiles or no_postprocessing:
                raise _other_ways(calibrate)
            (_choose if choose_postprocessing else _calibrate)(model, data, out)
            return
        from toolkit.workflows.evaluate import evaluate as run

        asked = settings(not no_postprocessing, tta, mc_dropout, tiles)
        metrics = run([model, *(ensemble or [])], data, split.value, out, asked)
        intervals = metrics["confidence_95"]
        typer.echo(
            f"{split.value} split ({metrics['split']}): {metrics['n_images']} pictures, "
            f"{metrics['n_patients']} patients, {metrics['n_empty']} pictures without tumour "
            f"({metrics['empty_mask_rule']})"
        )
        _warn_of_leak(metrics)
        for name, value in metrics["per_image_mean"].items():
            interval = intervals[name]
            between = f"  [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else ""
            typer.echo(f"  {name:12s} {'undefined' if value is None else f'{value:.3f}'}{between}")
        _tell_of_certainty(metrics)
        typer.echo(f"report: {out / 'report.html'}\npicture: {out / 'examples.png'}")


def _refuse_misuse(choose_postprocessing: bool, calibrate: bool, split: Part) -> None:
    """Both choose, on validation patients only, and one after the other."""
    from toolkit.errors import UsageError

    if choose_postprocessing and calibrate:
        raise UsageError("--calibrate: takes no --choose-postprocessing beside it; run one after the other")
    if split is not Part.val:
        option, purpose = ("--calibrate", "calibrating") if calibrate else ("--choose-postprocessing", "choosing")
        raise UsageError(f"{option}: {split.value} is not for {purpose}; leave --split out, which takes val")


def _other_ways(calibrate: bool) -> Exception:
    """What is stored belongs to a lone model as it is, so another way of asking has no say in it."""
    from toolkit.errors import UsageError

    option = "--calibrate" if calibrate else "--choose-postprocessing"
    return UsageError(f"{option}: is for one model as it is; leave --ensemble, --tta and other ways of asking out")


def _calibrate(model: Path, data: Path, out: Path) -> None:
    """Fit temperature and offsets, and print what they mend."""
    from toolkit.workflows.calibrate import calibrate

    result = calibrate(model, data, out)
    _tell_of_patients(result, f"{result['before']['n_pixels']} pixels counted")
    if result["after"]:
        (low, high), *_ = result["cross_fitted"]
        typer.echo(f"  after: each patient by what others give, temperature {low:.3f} to {high:.3f}")
    typer.echo(f"  {'':5s}  {'before':24s}  {'after':24s}  after - before, 95 % interval")
    for name in ("ece", "nll", "brier"):
        columns = [_figure(result[key], name, form) for key, form in COLUMNS.items() if result[key]]
        typer.echo(f"  {name:5s}  {'  '.join(f'{column:24s}' for column in columns)}".rstrip())
    offsets = ", ".join(f"{offset:+.3f}" for offset in result["offsets"])
    typer.echo(f"temperature {result['temperature']:.3f}, offset {offsets} (of all of them): now in {result['model']}")
    typer.echo(f"picture: {out / 'reliability.png'}")


def _tell_of_certainty(metrics: dict[str, Any]) -> None:
    """Two lines: calibration, and how well the review score finds low Dice."""
    calibration, review = metrics["calibration"], metrics["review_score"]
    if calibration["ece"] is not None:
        typer.echo(f"calibration: ECE {_figure(calibration, 'ece')} at temperature {calibration['temperature']:.3f}")
    for what in ("pictures", "cases"):
        found = review[what]
        if found["auc"] is not None:
            typer.echo(
                f"review score, {found['n_low']} of {found['n']} {what} with Dice < {review['low_dice']}: "
                f"AUC {_figure(found, 'auc')}, area alone {_figure(found, 'area_auc')}"
            )


def _figure(figures: dict[str, Any], name: str, form: str = ".4f") -> str:
    """A number and, where known, its interval."""
    interval = figures[f"{name}_95"]
    between = f" [{interval[0]:{form}}, {interval[1]:{form}}]" if interval else ""
    return f"{figures[name]:{form}}{between}"


def _choose(model: Path, data: Path, out: Path) -> None:
    """Choose post-processing, and print the best candidates."""
    from toolkit.workflows.choose_postprocessing import choose_postprocessing

    result = choose_postprocessing(model, data, out)
    rows, none = result["rows"], result["none"]
    _tell_of_patients(result, f"{len(rows)} candidates")
    typer.echo("  threshold  smallest  holes   largest  Dice    against none, 95 % interval")
    shown = rows[:SHOWN_CANDIDATES]
    for row in shown if none in shown else [*shown, none]:
        typer.echo(_line(row))
    if rows[0] == none:
        typer.echo(f"nothing does better than no post-processing, which is now in {result['model']}")
    else:
        typer.echo(f"the first is now in {result['model']}; export it again where it was exported")
    typer.echo(f"all candidates: {out / 'postprocessing.csv'}")


def _line(row: dict[str, Any]) -> str:
    smallest = f"{row['smallest_component']:g}" if row["smallest_component"] else "-"
    holes, largest = "fill" if row["fill_holes"] else "-", "only" if row["largest_only"] else "-"
    settings = f"  {row['threshold']:<9g}  {smallest:8s}  {holes:6s}  {largest:7s}"
    # Of a single patient nothing can be said about others.
    known = not math.isnan(row["gain_low"])
    between = f" [{row['gain_low']:+.4f}, {row['gain_high']:+.4f}]" if known else ""
    return f"{settings}  {row['dice']:.4f}  {row['gain']:+.4f}{between}"


def _tell_of_patients(result: dict[str, Any], more: str) -> None:
    """On whom something was fitted."""
    typer.echo(f"val split ({result['split']}): {result['n_images']} pictures, {result['n_patients']} patients, {more}")
    _warn_of_leak(result)


def _warn_of_leak(result: dict[str, Any]) -> None:
    if result["split_leaks_patients"]:
        typer.echo("warning: this split leaks patients, so every number is too good", err=True)


main = single_command(evaluate)

if __name__ == "__main__":
    main()
