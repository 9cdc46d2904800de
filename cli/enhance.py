"""bts-enhance: the enhancer alone, scans in and better scans out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.app import Debug, one_line_errors, single_command
from cli.spacing import Spacing, spacing_mm


def _only_two(value: int) -> int:
    if value not in (1, 2):
        raise typer.BadParameter("1 (as it is) or 2 (half the pixel size)")
    return value


def enhance(
    inputs: Annotated[list[Path], typer.Argument(help="DICOM, NIfTI, .mat, PNG, TIFF, JPEG, or folders of them.")],
    model: Annotated[Path, typer.Option(help="Run folder, .keras file, or a name in saved_models/.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("bts-enhanced"),
    fill_missing: Annotated[
        bool,
        typer.Option(
            "--fill-missing", help="Fill empty slices, and those a DICOM series lacks, from their neighbours."
        ),
    ] = False,
    upsample: Annotated[int, typer.Option(callback=_only_two, help="2: twice the resolution in plane.")] = 1,
    spacing: Spacing = None,
    debug: Debug = False,
) -> None:
    """Denoise and even out scans with the enhancer of a model, each written in its own kind and geometry.

    Research software, not a medical device.

    \b
    Examples:
      bts-enhance scan.nii.gz --model runs/enhancer_lgg
      bts-enhance DICOM_FOLDER/ --model runs/figshare --out enhanced
      bts-enhance DICOM_FOLDER/ --model runs/enhancer_lgg --fill-missing
      bts-enhance slice.png --model runs/figshare --upsample 2
    """
    with one_line_errors(debug):
        from toolkit.errors import SourceError
        from toolkit.workflows.enhance import enhance as run

        summary = run(inputs, model, out, fill_missing, upsample, spacing_mm(spacing))
        if summary["trained_on_synthetic_data"]:
            typer.echo("warning: this model was trained on synthetic phantoms; on people it means nothing", err=True)
        for name, case in summary["cases"].items():
            if case["problem"]:
                typer.echo(f"warning: {case['input']}: written as NIfTI: {case['problem']}", err=True)
            if case["missing_modalities"]:
                typer.echo(f"warning: {case['input']}: without {', '.join(case['missing_modalities'])}", err=True)
            of_series = (number for numbers in case["filled_series_slices"].values() for number in numbers)
            filled = sorted({*case["filled_slices"], *of_series})
            note = f", filled slices {', '.join(map(str, filled))}" if filled else ""
            typer.echo(f"{name}: {case['shape'][0]} slices{note} -> {', '.join(case['enhanced'])}")
        if summary["failed"]:
            first, *others = summary["failed"].values()
            raise SourceError(first + (f" (and {len(others)} more; see {out / 'summary.json'})" if others else ""))


main = single_command(enhance)

if __name__ == "__main__":
    main()
