"""What a user hands to `bts-predict`: files and folders, sorted into scans before any pixel is read."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from toolkit.config import LayoutRecipe
from toolkit.data.sources.dicom import DicomSeries, find_series, is_dicom
from toolkit.data.sources.layout import Match, match_files
from toolkit.data.sources.pair_layouts import LGG_FILE, LGG_MODALITIES
from toolkit.errors import SourceError

Kind = Literal["nifti", "picture", "mat", "dicom"]
KIND_OF_SUFFIX: dict[str, Kind] = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".mha": "nifti",
    ".mhd": "nifti",
    ".mat": "mat",
    ".png": "picture",
    ".tif": "picture",
    ".tiff": "picture",
    ".jpg": "picture",
    ".jpeg": "picture",
    ".dcm": "dicom",
}
ACCEPTED = "DICOM, " + ", ".join(suffix for suffix, kind in KIND_OF_SUFFIX.items() if kind != "dicom")

# Cross-validation indices that lie beside the slices of the figshare set.
_NO_SCANS = frozenset({"cvind.mat"})
# Masks lie beside the scans they belong to, ours too.
_MASK_NAME = re.compile(r"[_-](mask|seg|segm|label|labels)$", re.IGNORECASE)
# A file name may have 255 bytes; the rest is for endings such as _overlay.png.
_MAX_NAME_BYTES = 180


@dataclass(frozen=True)
class ScanFiles:
    """The files of one scan.

    Args:
        path: the file, or the folder of a case; names the scan.
        kind: how it is read.
        name: of the scan, safe as a file name.
        files: modality to file, where each modality has its own; else empty.
        series: the same for DICOM.
        slices: pictures that are slices of one case, in order: of each slice one for each
            modality, or one whose colours they are.
        problem: why it can't be read, as far as the headers tell.
    """

    path: Path
    kind: Kind
    name: str
    files: dict[str, Path] = field(default_factory=dict)
    series: dict[str, DicomSeries] = field(default_factory=dict)
    slices: tuple[tuple[Path, ...], ...] = ()
    problem: str | None = None

    @property
    def title(self) -> str:
        """What a user calls it; of several series in a folder each has its own."""
        return f"{self.all_files[0]} ({self.name})" if self.series else str(self.path)

    @property
    def all_files(self) -> list[Path]:
        """Every file that is read."""
        slices = [file for series in self.series.values() for file in series.files]
        pictures = [file for files in self.slices for file in files]
        return slices or pictures or list(self.files.values()) or [self.path]


def lone_file(path: Path) -> ScanFiles:
    """A file that is a scan of its own.

    Raises:
        SourceError: its kind is not accepted.
    """
    return ScanFiles(path, _kind(path), safe_name(path.name))


def find_scans(
    inputs: Iterable[Path],
    modalities: Sequence[str] = ("t1c",),
    allow_missing: bool = False,
    layout: LayoutRecipe | None = None,
    skip: Path | None = None,
    fill_gaps: bool = False,
) -> list[ScanFiles]:
    """The scans among what a user named: files as given, folders searched recursively.

    In a folder the files of a case are put together by the layout, by the names of BraTS or of the LGG
    set's pictures, or as DICOM series; what is left counts file by file. DICOM files that are named one by one are put
    together, too. Hidden files and folders, masks and what is known to be no scan are left out, and
    numbers sort as numbers. A file that is named twice comes once.

    Args:
        inputs: files and folders.
        modalities: that the model needs, in its order.
        allow_missing: a case need not have all of them.
        layout: patterns the model was trained with.
        skip: a folder not to look into: where the command writes its own masks.
        fill_gaps: see `find_series`.

    Raises:
        SourceError: an input is missing, of no accepted kind, or a folder that
            can't be read or has no scan.
    """
    found: dict[tuple[str, int, str | None], ScanFiles] = {}
    paths = [Path(path) for path in inputs]
    slices = [path for path in paths if os.path.isfile(path) and _kind_or_none(path) == "dicom"]
    for path in paths:
        if os.path.isdir(path):
            finder = _Folder(path, tuple(modalities), allow_missing, layout, fill_gaps)
            scans = finder.scans(sorted(_walk(path, skip), key=lambda file: natural_key(str(file.relative_to(path)))))
            if not scans:
                raise SourceError(f"{path}: no scan found in this folder; accepted: {ACCEPTED}")
        elif path in slices:
            scans = _dicom_scans(slices, modalities, allow_missing, fill_gaps) if path == slices[0] else []
            if path == slices[0] and not scans:
                raise SourceError(f"{path}: DICOM, but no scan (a report, mask or screen shot); give the scan's slices")
        elif os.path.exists(path):
            scans = [lone_file(path)]
        else:
            raise SourceError(f"{path}: no such file or folder; check the path")
        for scan in scans:
            found.setdefault(_identity(scan), scan)
    return list(found.values())


def _identity(scan: ScanFiles) -> tuple[str, int, str | None]:
    """By what a scan that is named twice is known; a DICOM file may hold several, and be part of a broken one."""
    first = next(iter(scan.series.values())).frames[0].index if scan.series else 0
    return os.path.realpath(scan.all_files[0]), first, scan.problem


@dataclass(frozen=True)
class _Folder:
    """Sorts the files of one folder into scans."""

    folder: Path
    modalities: tuple[str, ...]
    allow_missing: bool
    layout: LayoutRecipe | None
    fill_gaps: bool

    def scans(self, files: list[Path]) -> list[ScanFiles]:
        kinds = {file: _kind_or_none(file) for file in files}
        volumes = [file for file in files if kinds[file] == "nifti"]
        scans = self._cases(volumes)
        scans += self._stacks([file for file in files if kinds[file] == "picture"])
        used = {file.parent.absolute() for scan in scans for file in scan.all_files}
        # Beside a case lie masks and modalities that the model does not know.
        masks = self._masks(files)
        alone = [file for file in files if file.parent.absolute() not in used and file.absolute() not in masks]
        lone = [file for file in alone if kinds[file] in ("nifti", "picture", "mat")]
        scans += [lone_file(file) for file in lone if not _MASK_NAME.search(safe_name(file.name))]
        dicom = [file for file in files if kinds[file] == "dicom"]
        return scans + _dicom_scans(dicom, self.modalities, self.allow_missing, self.fill_gaps)

    def _cases(self, volumes: list[Path]) -> list[ScanFiles]:
        """Cases of several files, by the layout of the model or the names of BraTS."""
        if not volumes:
            return []
        # NiBabel comes with it: half a second in which a picture is predicted.
        from toolkit.data.sources.brats import brats_files

        matches: list[Match] = []
        if self.layout is not None:
            matches += self._matches(volumes, self.layout)
        matches = [*matches, *(m for m in brats_files(volumes) if len(m.files) > 1)]
        scans: dict[Path, ScanFiles] = {}
        for match in matches:
            files = {m: match.files[m] for m in self.modalities if m in match.files}
            if not files:
                continue
            first = next(iter(files.values()))
            missing = [m for m in self.modalities if m not in files]
            problem = f"the case has no {', '.join(missing)}, which the model needs; add it" if missing else None
            scan = ScanFiles(first.parent, "nifti", safe_name("_".join(match.fields.values())), files)
            scans.setdefault(first.resolve(), scan if self.allow_missing else replace(scan, problem=problem))
        return list(scans.values())

    def _matches(self, files: list[Path], layout: LayoutRecipe) -> list[Match]:
        folder, absolute = self.folder.absolute(), [file.absolute() for file in files]
        # With the mask's, or a mask might fit the pattern of an image.
        patterns = layout.images | ({} if layout.mask is None else {"mask": layout.mask})
        # The folder may be the whole data set, or one case of it.
        return [match for root in (folder, folder.parent) for match in match_files(root, absolute, patterns)]

    def _masks(self, files: list[Path]) -> set[Path]:
        """Masks that the layout tells from scans."""
        matches = [] if self.layout is None else self._matches(files, self.layout)
        return {match.files["mask"] for match in matches if "mask" in match.files}

    def _stacks(self, pictures: list[Path]) -> list[ScanFiles]:
        """Pictures that are slices of one case, by the layout's `{slice}` or the names of the LGG set."""
        found: dict[str, dict[int, tuple[Path, ...]]] = {}
        for match in self._matches(pictures, self.layout) if self.layout is not None else []:
            number = match.fields.pop("slice", "")
            if number.isascii() and number.isdigit() and set(match.files) >= set(self.modalities):
                files = tuple(match.files[m] for m in self.modalities)
                found.setdefault("_".join(match.fields.values()), {}).setdefault(int(number), files)
        if self.modalities == LGG_MODALITIES:
            for picture in pictures:
                if (name := LGG_FILE.fullmatch("/".join(picture.absolute().parts[-2:]))) and not name["mask"]:
                    found.setdefault(name["case"], {}).setdefault(int(name["slice"]), (picture,))
        return [
            ScanFiles(next(iter(stack.values()))[0].parent, "picture", safe_name(name), slices=slices)
            for name, stack in found.items()
            for slices in [tuple(stack[number] for number in sorted(stack))]
        ]


def _dicom_scans(files: list[Path], modalities: Sequence[str], allow_missing: bool, fill_gaps: bool) -> list[ScanFiles]:
    """The scans of each study among DICOM files, and what can't be read."""
    problems = _Problems()
    studies: dict[tuple[str, str], list[DicomSeries]] = {}
    for series in find_series(files, problems, fill_gaps):
        studies.setdefault((series.patient, series.study_uid), []).append(series)
    scans = [scan for study in studies.values() for scan in _scans_of_study(study, modalities, allow_missing)]
    return scans + [
        ScanFiles(file, "dicom", safe_name(file.name), problem=message) for file, message in problems.errors.items()
    ]


def _scans_of_study(study: list[DicomSeries], modalities: Sequence[str], allow_missing: bool) -> list[ScanFiles]:
    """For a model of one modality each series, or those that are told to be it; else one scan of several series."""
    if len(modalities) == 1:
        fitting = [series for series in study if series.modality == modalities[0]] or study
        return [_dicom_scan({modalities[0]: series}) for series in fitting]
    from toolkit.data.sources.dicom_study import choose_modalities

    chosen = choose_modalities(study, modalities)
    missing = [m for m in modalities if m not in chosen]
    if not missing or (chosen and allow_missing):
        return [_dicom_scan(chosen)]
    listed = ", ".join(sorted({series.description or "no description" for series in study}))
    problem = (
        f"its study has no series that is told to be {', '.join(missing)} by its description ({listed}); "
        "add it, or convert the series to NIfTI and name them as BraTS does"
    )
    first = study[0].files[0]
    return [ScanFiles(first, "dicom", safe_name(first.name), problem=problem)]


def _dicom_scan(series: dict[str, DicomSeries]) -> ScanFiles:
    first, *others = series.values()
    files = [file for one in (first, *others) for file in one.files]
    path = files[0] if len(files) == 1 else _common_folder(files)
    name = "" if others else first.description
    return ScanFiles(path, "dicom", safe_name(name or os.path.basename(os.path.abspath(path))), series=series)


def _common_folder(files: list[Path]) -> Path:
    shared = set.intersection(*(set(file.parents) for file in files))
    # Files that are named one by one may share none, e.g. one as absolute path and one as relative.
    return max(shared, key=lambda folder: len(folder.parts), default=files[0].parent)


class _Problems:
    """What is wrong with DICOM files; warnings are for data sets, not for one scan."""

    def __init__(self) -> None:
        self.errors: dict[Path, str] = {}

    def error(self, file: Path, rule: str, message: str) -> None:
        """Keep the first of a file."""
        self.errors.setdefault(file, message)

    def warn(self, file: Path, rule: str, message: str) -> None:
        """Leave it."""


def natural_key(text: str) -> list[str | int]:
    """Sort key by which `2.mat` comes before `10.mat`."""
    parts = re.split(r"([0-9]+)", text.lower())
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]


def safe_name(name: str) -> str:
    """A name for the outputs of a scan: its file name without the ending, odd characters replaced.

    Letters and digits of any script, `-`, `_` and inner dots stay; the rest
    becomes `_`. Never empty, never hidden, never a path or an option.
    """
    for suffix in KIND_OF_SUFFIX:
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    name = re.sub(r"[^\w.-]+", "_", name).strip("._-")
    return name.encode()[:_MAX_NAME_BYTES].decode(errors="ignore") or "scan"


def unique_names(scans: Sequence[ScanFiles]) -> list[str]:
    """A safe name for each scan, no two alike even where case of letters does not count.

    Names that clash get the folder's name in front (`01_T1`, `02_T1`), and a
    number at the end if they still do.
    """
    names = [scan.name for scan in scans]
    often = Counter(name.casefold() for name in names)
    for index, scan in enumerate(scans):
        path = scan.path.absolute()
        folder = path if scan.series and scan.path not in scan.all_files else path.parent
        if often[names[index].casefold()] > 1 and folder.name and safe_name(folder.name) != names[index]:
            names[index] = safe_name(f"{folder.name}_{names[index]}")
    taken: set[str] = set()
    numbers: dict[str, int] = {}  # the last one given to a name: of thousands alike each goes on from there
    for index, name in enumerate(names):
        while names[index].casefold() in taken:
            numbers[name.casefold()] = numbers.get(name.casefold(), 1) + 1
            names[index] = f"{name}_{numbers[name.casefold()]}"
        taken.add(names[index].casefold())
    return names


def _kind_or_none(path: Path) -> Kind | None:
    """By the suffix, else DICOM by the first bytes: its files often have no suffix."""
    by_suffix = (kind for suffix, kind in KIND_OF_SUFFIX.items() if path.name.lower().endswith(suffix))
    # A pipe would keep its reader waiting.
    return next(by_suffix, None) or ("dicom" if path.is_file() and is_dicom(path) else None)


def _kind(path: Path) -> Kind:
    kind = _kind_or_none(path)
    if kind is None:
        raise SourceError(f"{path}: not a kind of scan that can be read; accepted: {ACCEPTED}")
    return kind


def _walk(folder: Path, skip: Path | None) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: folder can't be read ({error.strerror}); check permissions")

    left_out = os.path.realpath(skip) if skip is not None else None
    for root, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(os.path.join(root, name)) != left_out
        ]
        for name in files:
            if not name.startswith(".") and name.lower() not in _NO_SCANS:
                yield Path(root, name)
