"""bts-predict: mark the tumour in scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.app import Debug, one_line_errors, single_command
from cli.asking import DropoutSamples, Flips, Tiles, settings
from cli.spacing import Spacing, spacing_mm


def predict(
    inputs: Annotated[list[Path], typer.Argument(help="DICOM, NIfTI, .mat, PNG, TIFF, JPEG, or folders of them.")],
    model: Annotated[
        list[Path] | None,
        typer.Option(
            help="Run folder, .keras or .tflite file, SavedModel folder, or a name in saved_models/; several times: "
            "an ensemble."
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bts-predictions"),
    server: Annotated[
        str | None,
        typer.Option(help="Model on TensorFlow Serving: grpc://HOST:PORT/NAME or http://HOST:PORT/v1/models/NAME."),
    ] = None,
    spacing: Spacing = None,
    no_postprocessing: Annotated[
        bool, typer.Option("--no-postprocessing", help="Threshold only, as exported graphs do; see bts-evaluate.")
    ] = False,
    tta: Flips = False,
    mc_dropout: DropoutSamples = 0,
    tiles: Tiles = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also attention and Grad-CAM, in the report and as files; needs .keras.")
    ] = False,
    uncertainty: Annotated[bool, typer.Option("--uncertainty", help="Write maps of uncertainty as files.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Scans done at the same time, each with the model in memory.")] = 1,
    debug: Debug = False,
) -> None:
    """Mark the tumour in every scan: masks in the scan's own kind and geometry, overlays, a report.

    Research software, not a medical device.

    \b
    Examples:
      bts-predict scan.nii.gz --model runs/figshare
      bts-predict pictures/ 1.mat --model runs/figshare --out predictions
      bts-predict DICOM_FOLDER/ --model exported/figshare.tflite
      bts-predict BraTS-GLI-00001-000/ --model runs/brats
      bts-predict stack.nii.gz --model runs/figshare --spacing 5,0.9,0.9
      bts-predict ten-thousand-scans/ --model runs/figshare --jobs 4
      bts-predict scan.nii.gz --model fold0 --model fold1 --tta --uncertainty
      bts-predict scan.nii.gz --model runs/figshare --explain
      bts-predict scan.nii.gz --server grpc://localhost:8500/figshare
    """
    with one_line_errors(debug):
        from toolkit.errors import SourceError, UsageError

        if bool(model) == (server is not None):
            raise UsageError("name a model: --model RUN, or --server URL")
        from toolkit.workflows.predict import predict as run

        asked = settings(not no_postprocessing, tta, mc_dropout, tiles)
        summary = run(inputs, model or str(server), out, spacing_mm(spacing), asked, jobs, explain, uncertainty)
        if summary["trained_on_synthetic_data"]:
            typer.echo("warning: this model was trained on synthetic phantoms; on people it means nothing", err=True)
        for name, case in summary["cases"].items():
            if case["spacing_is_placeholder"]:
                typer.echo(
                    f"warning: {case['input']}: its header says 1 mm cubes, which {case['shape'][0]} slices of a head "
                    "can't be; no volume in ml without --spacing SLICE,ROW,COLUMN",
                    err=True,
                )
            if (case["unlikeness"] or 0) > 1:
                typer.echo(
                    f"warning: {case['input']}: is unlike the scans this model has learned from "
                    f"({case['unlikeness']:.2f}, usual is below 1): another sequence, another scanner, or no head? "
                    "Its mask may mean nothing",
                    err=True,
                )
            if case["dicom_seg_problem"]:
                typer.echo(f"warning: no DICOM SEG: {case['dicom_seg_problem']}", err=True)
            if case["missing_modalities"]:
                typer.echo(f"warning: {case['input']}: without {', '.join(case['missing_modalities'])}", err=True)
            typer.echo(f"{name}: {_measures(case)} -> {case['mask']}")
        typer.echo(f"report: {out / 'report.html'}")
        if summary["failed"]:
            first, *others = summary["failed"].values()
            raise SourceError(first + (f" (and {len(others)} more; see {out / 'summary.json'})" if others else ""))


def _measures(case: dict[str, Any]) -> str:
    """What was found, in words."""
    lesions, n_slices = case["number_of_lesions"], case["shape"][0]
    if not lesions:
        return f"no tumour in {n_slices} slices"
    volume, largest, across = (case[key] for key in ("volume_ml", "largest_diameter_mm", "perpendicular_diameter_mm"))
    size = f"{case['total_pixels']} pixels" if volume is None else f"{volume:.1f} ml"
    diameters = "diameters unknown" if largest is None else f"{largest:.0f} x {across:.0f} mm"
    plural = "" if lesions == 1 else "s"
    side = "side unknown" if case["side"] == "unknown" else case["side"]
    touched = case["slices_with_tumour"]
    return f"{size} in {touched} of {n_slices} slices, {diameters}, {lesions} lesion{plural}, {side}"


main = single_command(predict)

if __name__ == "__main__":
    main()
