"""bts-prepare: read, check, split by patient, store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.app import Debug, one_line_errors, single_command
from cli.spacing import Spacing, spacing_mm


class Kind(StrEnum):
    """Sources a store can be made from."""

    figshare = "figshare"
    nifti = "nifti"
    pairs = "pairs"
    dicom = "dicom"
    phantom = "phantom"


def prepare(
    kind: Annotated[
        Kind,
        typer.Argument(
            help="figshare: folder of .mat slices; nifti: BraTS, Medical Segmentation Decathlon, or --pattern; "
            "pairs: pictures and mask pictures; dicom: series with DICOM SEG; phantom: made on the spot."
        ),
    ],
    source: Annotated[Path | None, typer.Argument(help="Folder to read (none for phantom).")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the store; must not exist yet.")] = Path("stores/store"),
    seed: Annotated[int, typer.Option(help="Decides the splits (and the phantoms).", min=0)] = 1,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out files with errors and go on.")] = False,
    download: Annotated[
        bool, typer.Option("--download", help="figshare: fetch the set into the folder first.")
    ] = False,
    recipe: Annotated[str | None, typer.Option(help="nifti, pairs: recipe whose data.layout has the patterns.")] = None,
    pattern: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PATTERN", help="nifti, pairs: where a modality or the mask lies; repeatable."),
    ] = None,
    modalities: Annotated[str | None, typer.Option(help="nifti (BraTS), dicom: which to read, e.g. t1c,t2f.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="nifti, dicom: keep cases that lack modalities.")
    ] = False,
    spacing: Spacing = None,
    patients: Annotated[int, typer.Option(help="phantom: how many to make.", min=1)] = 40,
    size: Annotated[int, typer.Option(help="phantom: pixels of a slice.", min=16, max=1024)] = 96,
    debug: Debug = False,
) -> None:
    """Read scans, check them, split them by patient and write a store for training.

    \b
    Examples:
      bts-prepare figshare downloads/figshare --download --out stores/figshare
      bts-prepare nifti ASNR-MICCAI-BraTS2023-GLI-Challenge-TrainingData --out stores/brats
      bts-prepare nifti Task01_BrainTumour --out stores/decathlon
      bts-prepare nifti scans --pattern t1c='{patient}/{visit}_T1.nii.gz' --pattern mask='{patient}/{visit}_Mask.nii.gz'
      bts-prepare pairs pictures --out stores/pictures
      bts-prepare dicom export --modalities t1c --out stores/clinic
      bts-prepare phantom --out stores/phantom --patients 40
    """
    with one_line_errors(debug):
        from toolkit.config import layout_from_patterns, load_recipe
        from toolkit.errors import UsageError
        from toolkit.workflows.prepare import prepare as run
        from toolkit.workflows.prepare import summary
        from toolkit.workflows.sources import SourceOptions

        if recipe and pattern:
            raise UsageError("--recipe and --pattern: give one of them")
        layout = layout_from_patterns(pattern) if pattern else load_recipe(recipe).data.layout if recipe else None
        if recipe and layout is None:
            raise UsageError(f"--recipe {recipe}: has no data.layout; see the docs of recipes")
        options = SourceOptions(
            layout=layout,
            modalities=tuple(name.strip() for name in modalities.split(",")) if modalities else None,
            allow_missing=allow_missing,
            spacing_mm=spacing_mm(spacing),
            download=download,
            n_patients=patients,
            size=size,
        )
        index, findings = run(kind.value, source, out, seed, skip_bad, options)
        for finding in (f for f in findings if f.weight == "error"):
            typer.echo(f"left out: {finding.file}: {finding.message}")
        for name, value in summary(index).items():
            typer.echo(f"{name.replace('_', ' ')}: {value}")
        warnings = sum(finding.weight == "warning" for finding in findings)
        typer.echo(f"findings: {len(findings) - warnings} errors, {warnings} warnings, see {out / 'integrity.html'}")
        typer.echo(f"store: {out}")


main = single_command(prepare)

if __name__ == "__main__":
    main()
