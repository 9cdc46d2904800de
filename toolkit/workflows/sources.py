"""Which source reads which kind of data set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolkit.config import LayoutRecipe
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.source import Source
from toolkit.data.store_writer import TUMOUR
from toolkit.errors import UsageError
from toolkit.progress import track

CASES_A_PHANTOM = 3  # one for each plane


@dataclass(frozen=True)
class SourceOptions:
    """What `bts-prepare` may say about a data set; each kind takes its own and refuses the others.

    Args:
        layout: patterns of the files (nifti, pairs).
        modalities: which to read, in this order (BraTS folders, dicom); None for what is usual.
        allow_missing: a case need not have all modalities (nifti, dicom).
        spacing_mm: `(slice, row, column)` distances where the files state none (nifti, pairs).
        download: fetch the set into the folder first (figshare).
        n_patients: how many to make (phantom).
        size: height and width of a slice in pixels (phantom).
    """

    layout: LayoutRecipe | None = None
    modalities: tuple[str, ...] | None = None
    allow_missing: bool = False
    spacing_mm: tuple[float, float, float] | None = None
    download: bool = False
    n_patients: int = 40
    size: int = 96


TAKES = {
    "figshare": {"download"},
    "nifti": {"layout", "modalities", "allow_missing", "spacing_mm"},
    "pairs": {"layout", "spacing_mm"},
    "dicom": {"modalities", "allow_missing"},
    "phantom": {"n_patients", "size"},
}
OPTION = {
    "layout": "--recipe and --pattern",
    "allow_missing": "--allow-missing",
    "spacing_mm": "--spacing",
    "n_patients": "--patients",
}


def open_source(kind: str, folder: Path | None, gate: IntegrityGate, options: SourceOptions, seed: int) -> Source:
    """Open a data set for reading.

    Args:
        kind: one of `TAKES`.
        folder: of the data set; None for the phantom.
        gate: gets the findings.
        options: see there.
        seed: of the phantoms.

    Raises:
        UsageError: the kind takes no such option, or needs a folder.
        SourceError: there is nothing to read.
    """
    for name, default in vars(SourceOptions()).items():
        if getattr(options, name) != default and name not in TAKES[kind]:
            raise UsageError(f"{kind}: takes no {OPTION.get(name) or '--' + name}; see bts-prepare --help")
    if kind == "phantom":
        return _phantoms(options, seed)
    if folder is None:
        raise UsageError(f"{kind}: name the folder to read, e.g. bts-prepare {kind} FOLDER --out STORE")
    if kind == "figshare":
        return _figshare(folder, gate, options.download)
    if kind == "pairs":
        from toolkit.data.sources.pairs import open_pairs

        return open_pairs(folder, gate, options.layout, options.spacing_mm)
    if kind == "dicom":
        from toolkit.data.sources.dicom_cases import open_dicom_cases

        return open_dicom_cases(folder, gate, options.modalities, options.allow_missing)
    return _nifti(folder, gate, options)


def _phantoms(options: SourceOptions, seed: int) -> Source:
    from toolkit.data.sources.phantom import phantom_cases

    cases = phantom_cases(options.n_patients, seed, options.size)
    return Source("phantom", TUMOUR, (), track(cases, "Making phantoms", CASES_A_PHANTOM * options.n_patients))


def _figshare(folder: Path, gate: IntegrityGate, download: bool) -> Source:
    from toolkit.data.sources.figshare import figshare_cases, slice_files

    if download:
        from toolkit.data.sources.figshare_download import download_figshare

        download_figshare(folder)
    return Source("figshare", TUMOUR, tuple(slice_files(folder)), figshare_cases(folder, gate))


def _nifti(folder: Path, gate: IntegrityGate, options: SourceOptions) -> Source:
    from toolkit.data.sources.brats import MODALITIES, open_brats
    from toolkit.data.sources.decathlon import is_decathlon, open_decathlon
    from toolkit.data.sources.nifti_layout import open_layout

    if options.layout is not None:
        return open_layout(folder, options.layout, gate, options.allow_missing, options.spacing_mm)
    if is_decathlon(folder):
        return open_decathlon(folder, gate, options.spacing_mm)
    modalities = options.modalities or MODALITIES
    return open_brats(folder, modalities, gate, options.allow_missing, options.spacing_mm)
