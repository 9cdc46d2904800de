"""BraTS folders of every release, told by the names of their files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.layout import Match
from toolkit.data.sources.source import Source
from toolkit.data.sources.volumes import CaseFiles, Spacing, drop_incomplete, read_cases, volume_files
from toolkit.errors import SourceError, UsageError

MODALITIES = ("t1n", "t1c", "t2w", "t2f")
LABELS = {"background": 0, "necrotic_core": 1, "oedema": 2, "enhancing_tumour": 3}
# Since the post-treatment data of 2024.
LABELS_SINCE_2023 = {**LABELS, "resection_cavity": 4}

_ROLES = {
    "t1": "t1n",
    "t1n": "t1n",
    "t1c": "t1c",
    "t1ce": "t1c",
    "t1gd": "t1c",
    "t2": "t2w",
    "t2w": "t2w",
    "flair": "t2f",
    "t2f": "t2f",
    "seg": "mask",
    "segm": "mask",
    "ot": "mask",
}
_SINCE_2023 = re.compile(r"(?P<case>.+)-(?P<role>t1n|t1c|t2w|t2f|seg)\.nii(\.gz)?", re.IGNORECASE)
_UNTIL_2021 = re.compile(r"(?P<case>.+)_(?P<role>t1|t1ce|t1gd|t2|flair|segm?)\.nii(\.gz)?", re.IGNORECASE)
# 2013 to 2016: each image in a folder of its own, all of them in the folder of the case.
_UNTIL_2016 = re.compile(r"VSD\.Brain.*\.(MR_)?(?P<role>T1|T1c|T2|Flair|OT)\.\d+\.(mha|nii(\.gz)?)", re.IGNORECASE)
# Time points of one person: BraTS-GLI-00001-000, Brats17_TCIA_105_1, brats_tcia_pat105_0001.
_TIME_POINT = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d+|(Brats1[78]_.+)_\d+|(brats_.+_pat\d+)_\d+", re.IGNORECASE)


def brats_files(files: Iterable[Path]) -> list[Match]:
    """Group the files of BraTS cases; other files are left aside.

    Returns:
        In the order of the files that began them; each has the field `case` and files named
        `t1n`, `t1c`, `t2w`, `t2f` and `mask`, as far as they are there.
    """
    cases: dict[tuple[Path, str], dict[str, Path]] = {}
    odd_masks: list[Path] = []
    for file in files:
        if found := _UNTIL_2016.fullmatch(file.name):
            folder = file.parent.parent if file.name.startswith(file.parent.name) else file.parent
            key = (folder, folder.name)
        elif found := _SINCE_2023.fullmatch(file.name) or _UNTIL_2021.fullmatch(file.name):
            if found["role"].lower() == "segm":
                odd_masks.append(file)  # one case of 2020 has a mask of another name
                continue
            key = (file.parent, found["case"])
        else:
            continue
        cases.setdefault(key, {}).setdefault(_ROLES[found["role"].lower()], file)
    for mask in odd_masks:
        beside = [roles for (folder, _), roles in cases.items() if folder == mask.parent]
        if len(beside) == 1:
            beside[0].setdefault("mask", mask)
    return [Match({"case": name}, roles) for (_, name), roles in cases.items()]


def brats_patient(case: str) -> str:
    """The person of a case, without the number of the time point."""
    found = _TIME_POINT.fullmatch(case)
    return next((group for group in found.groups() if group), case) if found else case


def open_brats(
    folder: Path,
    modalities: tuple[str, ...],
    gate: IntegrityGate,
    allow_missing: bool,
    spacing_mm: Spacing | None,
) -> Source:
    """Open a BraTS folder of any release.

    Args:
        folder: as unpacked; searched recursively.
        modalities: which to read, of `MODALITIES`, in the order of the channels.
        gate: gets the findings.
        allow_missing: a case need not have all of them.
        spacing_mm: `(slice, row, column)` distances, used where files have a placeholder.

    Raises:
        UsageError: a modality is none of BraTS'.
        SourceError: no such folder, or no BraTS case in it.
    """
    if unknown := set(modalities) - set(MODALITIES):
        raise UsageError(f"--modalities {', '.join(sorted(unknown))}: BraTS has {', '.join(MODALITIES)}")
    matches = [match for match in brats_files(volume_files(folder)) if set(match.files) - {"mask"}]
    if not matches:
        raise SourceError(
            f"{folder}: no file is named as BraTS names them (NAME-t1c.nii.gz, NAME_t1ce.nii.gz …); say --pattern"
        )
    cases = drop_incomplete((_case(match, modalities) for match in matches), gate, allow_missing)
    recent = any(_is_since_2023(case.path) for case in cases)
    label_map = LABELS_SINCE_2023 if recent else LABELS
    values = set(label_map.values()) - {0}

    def relabel(mask: np.ndarray, path: Path) -> np.ndarray:
        return mask if _is_since_2023(path) else _one_map(mask, path, gate)

    files = tuple(file for case in cases for file in case.all_files)
    return Source("nifti", label_map, files, read_cases(cases, values, gate, spacing_mm, relabel))


def _case(match: Match, modalities: tuple[str, ...]) -> CaseFiles:
    name = match.fields["case"]
    images = {modality: match.files.get(modality) for modality in modalities}
    return CaseFiles(next(iter(match.files.values())), brats_patient(name), name, images, match.files.get("mask"))


def _is_since_2023(file: Path) -> bool:
    return _SINCE_2023.fullmatch(file.name) is not None


def _one_map(mask: np.ndarray, path: Path, gate: IntegrityGate) -> np.ndarray:
    """Labels of the releases until 2021 in the map of those since.

    4 is the enhancing tumour; 3 beside a 4 is the non-enhancing core of 2013, which the
    organisers put to the necrotic core from 2017 on.
    """
    has_3, has_4 = (mask == 3).any(), (mask == 4).any()
    if has_3 and not has_4:
        gate.warn(path, "label-map", "has label 3 but no 4; 3 is taken for the enhancing tumour, as since 2023")
        return mask
    relabelled = mask.copy()
    relabelled[mask == 3], relabelled[mask == 4] = 1, 3
    return relabelled
