"""Which picture belongs to which mask: the layouts in which folders keep pairs of them.

Nothing here reads a pixel; a file without its partner is told to the integrity gate.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from toolkit.config import LayoutRecipe
from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.layout import PLACEHOLDER, check_patterns, match_files
from toolkit.data.sources.pictures import SUFFIXES
from toolkit.errors import SourceError, UsageError

MODALITIES = ("t1c",)
# README of Buda's set: red is pre-contrast, green FLAIR, blue post-contrast.
LGG_MODALITIES = ("t1n", "t2f", "t1c")

IMAGE_FOLDERS = ("images", "image", "imgs")
MASK_FOLDERS = ("masks", "mask", "labels")
MASK_ENDINGS = ("", "_mask", "-mask", "_seg")
COLUMNS = frozenset({"image", "mask", "patient"})
MAX_CSV_BYTES = 2**24
MAX_CSV_ROWS = 100_000
UNDERSTOOD = (
    "folders images/ and masks/ with equal file names, a CSV with the columns image,mask,patient, "
    "folders TCGA_xx_xxxx_date/ with NAME_N.tif and NAME_N_mask.tif, or --pattern"
)

# The last folder and the name of a file of the LGG set.
LGG_FILE = re.compile(
    r"(?P<case>(?P<patient>TCGA_\w{2}_\w{4})_\d{8})/(?P=case)_(?P<slice>\d{1,9})(?P<mask>_mask)?\.tif", re.ASCII
)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True)
class Pair:
    """The files of one slice, or of several where they are multi-page TIFFs.

    Args:
        images: one for each modality in their order, or one whose colours are the modalities.
        mask: of the same size and number of pages.
    """

    images: tuple[Path, ...]
    mask: Path


@dataclass(frozen=True)
class PairedCase:
    """Pairs that follow each other as slices of one patient.

    Args:
        patient: as the layout names it.
        name: of the case; may hold `/`, and two cases may share it.
        pairs: in the order of the slices, at least one.
        tumour_type: where the layout tells it.
    """

    patient: str
    name: str
    pairs: tuple[Pair, ...]
    tumour_type: str | None = None


@dataclass(frozen=True)
class PairedFolder:
    """The cases of a folder.

    Args:
        modalities: of every case.
        colours: modalities are the colours of one picture, not pictures of their own.
        cases: none if no file has a partner.
    """

    modalities: tuple[str, ...]
    colours: bool
    cases: tuple[PairedCase, ...]


@dataclass(frozen=True)
class _Slot:
    """A place in the slice sequence of a case; without a pair it is a gap in it."""

    patient: str
    name: str
    number: int
    file: Path
    pair: Pair | None
    tumour_type: str | None = None


def find_pairs(folder: Path, gate: IntegrityGate, layout: LayoutRecipe | None) -> PairedFolder:
    """Find the pairs of a folder: by `layout` if given, else by the first layout that it has.

    Args:
        folder: searched recursively; hidden files are left aside.
        gate: is told of files without partner (`no-mask`, `no-image`), of two files for one
            place (`duplicate-slice`) and of unknown patients (`patients-unknown`, a warning).
        layout: patterns of the files.

    Raises:
        UsageError: the patterns name no mask, do not fit each other, or `{slice}` is no number.
        SourceError: no such folder, no layout in it that is understood, or a damaged CSV.
    """
    if not os.path.isdir(folder):
        raise SourceError(f"{folder}: no such folder; give the folder that holds images and masks")
    if layout is not None:
        return _by_patterns(folder, gate, layout)
    for find in (_by_table, _by_lgg_names, _by_folders):
        if found := find(folder, gate):
            return found
    raise SourceError(f"{folder}: images and masks can't be told apart; understood are {UNDERSTOOD}")


def _by_patterns(folder: Path, gate: IntegrityGate, layout: LayoutRecipe) -> PairedFolder:
    if layout.mask is None:
        raise UsageError("the layout names no mask; add it, e.g. --pattern mask='masks/{patient}_{slice}.png'")
    patterns = {**layout.images, "mask": layout.mask}
    check_patterns(patterns)
    groups = _match(folder, patterns)
    if not groups:
        raise SourceError(f"{folder}: no picture in it fits the patterns {', '.join(patterns.values())}")
    order = tuple(dict.fromkeys(PLACEHOLDER.findall(layout.mask)))
    slots = []
    for values, files in groups.items():
        fields = dict(values)
        file = next(iter(files.values()))
        number = fields.get("slice", "0")
        if not _NUMBER.fullmatch(number):
            raise UsageError(f"{file}: {{slice}} stands for {number!r} here, which is no number; mend the pattern")
        name = "/".join(fields[field] for field in order if field != "slice")
        pair = _pair(gate, tuple(layout.images), files)
        slots.append(_Slot(fields["patient"], name, int(number), file, pair))
    return PairedFolder(tuple(layout.images), False, _sequences(slots, gate))


def _match(folder: Path, patterns: Mapping[str, str]) -> dict[tuple[tuple[str, str], ...], dict[str, Path]]:
    """Role to file of each group, by the values of its placeholders.

    A file has one role. Where it fits several patterns, as p_1_mask.png fits `{patient}_{slice}.png`,
    the one with the most text outside of braces is meant.
    """
    left = _pictures(folder)
    groups: dict[tuple[tuple[str, str], ...], dict[str, Path]] = {}
    for role in sorted(patterns, key=lambda role: -len(PLACEHOLDER.sub("", patterns[role]))):
        matches = match_files(folder, left, {role: patterns[role]})
        for match in matches:
            groups.setdefault(tuple(match.fields.items()), {}).update(match.files)
        taken = {file for match in matches for file in match.files.values()}
        left = [file for file in left if file not in taken]
    return groups


def _by_table(folder: Path, gate: IntegrityGate) -> PairedFolder | None:
    """Pairs listed in the one CSV of the folder that has the columns for it."""
    tables = [
        file for file in sorted(folder.glob("*.[cC][sS][vV]")) if os.path.isfile(file) and _columns(file) >= COLUMNS
    ]
    if not tables:
        return None
    if len(tables) > 1:
        raise SourceError(f"{folder}: has several CSVs of pairs ({tables[0].name}, {tables[1].name}, …); keep one")
    table = tables[0]
    slots = [_row_slot(folder, gate, table, line, row) for line, row in _rows(table)]
    return PairedFolder(MODALITIES, False, _sequences(slots, gate))


def _columns(table: Path) -> set[str]:
    """Names in the first line of a CSV; none if it is not readable as such."""
    try:
        with table.open("rb") as file:
            header = file.readline(2**16).decode("utf-8-sig", errors="replace")
        return {name.strip().lower() for name in next(csv.reader([header]), [])}
    except (OSError, csv.Error):
        return set()


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values of each row that is not empty, blanks around them removed."""
    try:
        if table.stat().st_size > MAX_CSV_BYTES:
            raise SourceError(f"{table}: over {MAX_CSV_BYTES} bytes; split the data set")
        reader = csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig")), restkey="", restval="")
        if not {name.strip().lower() for name in reader.fieldnames or []} >= COLUMNS:
            raise SourceError(f"{table}: the first line is damaged; write image,mask,patient there")
        for number, row in enumerate(reader):
            if number == MAX_CSV_ROWS:
                raise SourceError(f"{table}: over {MAX_CSV_ROWS} rows; split the data set")
            cells = {name.strip().lower(): value.strip() for name, value in row.items() if name}
            if any(cells.values()):
                yield reader.line_num, cells
    except UnicodeDecodeError as error:
        raise SourceError(f"{table}: not UTF-8; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise SourceError(f"{table}: line {reader.line_num}: not CSV ({error}); mend it") from error
    except OSError as error:
        raise SourceError(f"{table}: can't be read ({error.strerror}); check permissions") from error


def _row_slot(folder: Path, gate: IntegrityGate, table: Path, line: int, row: Mapping[str, str]) -> _Slot:
    files = {}
    for role in ("image", "mask"):
        text = row[role]
        place = f"line {line}: {role} {text[:_SHOWN_CHARACTERS]!r}"
        if _leads_out(folder, text):
            raise SourceError(f"{table}: {place} leads out of the folder; give a relative path inside it")
        if text and os.path.isfile(folder / text):
            files[role] = folder / text
        else:
            gate.error(table, f"no-{role}", f"{place} is not there; add the file or remove the line")
    number = row.get("slice", "0")
    if not _NUMBER.fullmatch(number):
        raise SourceError(f"{table}: line {line}: slice {number[:_SHOWN_CHARACTERS]!r} is not a number; mend it")
    patient = " ".join(row["patient"].split())
    # Without the column `slice`, nothing says that rows of a patient follow each other.
    case = row.get("case") or ("" if "slice" in row else row["image"].rpartition(".")[0])
    pair = Pair((files["image"],), files["mask"]) if len(files) == 2 else None
    name = f"{patient}/{case}" if case else patient
    return _Slot(patient, name, int(number), files.get("image", table), pair, row.get("tumour_type") or None)


def _leads_out(folder: Path, text: str) -> bool:
    # This class knows the drives and separators of Windows and those of other systems.
    path = PureWindowsPath(text)
    if path.anchor or ".." in path.parts:
        return True
    try:
        return not (folder / text).resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # too long, links in a circle, a zero byte: no file at all
        return False


def _by_lgg_names(folder: Path, gate: IntegrityGate) -> PairedFolder | None:
    """Buda's lower-grade gliomas of TCGA: a folder a scan, slices numbered, three sequences as colours."""
    places: dict[tuple[str, Path, str], dict[str, Path]] = {}
    for file in _pictures(folder):
        if named := LGG_FILE.fullmatch("/".join(file.absolute().parts[-2:])):
            role = "mask" if named["mask"] else "image"
            places.setdefault((named["patient"], file.parent, named["slice"]), {})[role] = file
    if not any("mask" in files for files in places.values()):
        return None
    slots = []
    for (patient, parent, number), files in places.items():
        name = parent.relative_to(folder).as_posix() if parent != folder else parent.absolute().name
        file = next(iter(files.values()))
        slots.append(_Slot(patient, name, int(number), file, _pair(gate, ("image",), files)))
    return PairedFolder(LGG_MODALITIES, True, _sequences(slots, gate, consecutive=True))


def _by_folders(folder: Path, gate: IntegrityGate) -> PairedFolder | None:
    """Folders of images and of masks in which partners have the same name."""
    folders = {path.name.lower(): path for path in sorted(folder.glob("*")) if os.path.isdir(path)}
    images_in = next((folders[name] for name in IMAGE_FOLDERS if name in folders), None)
    masks_in = next((folders[name] for name in MASK_FOLDERS if name in folders), None)
    if images_in is None or masks_in is None:
        return None
    images, masks = _by_stem(images_in, gate), _by_stem(masks_in, gate)
    if not images and not masks:
        return None
    slots = []
    for stem, image in images.items():
        mask = next((masks.pop(stem + ending) for ending in MASK_ENDINGS if stem + ending in masks), None)
        pair = _pair(gate, ("image",), {"image": image, **({"mask": mask} if mask else {})})
        slots.append(_Slot(stem.partition("/")[0], stem, 0, image, pair))
    for mask in masks.values():
        _pair(gate, ("image",), {"mask": mask})
    if any("/" not in stem for stem in images):
        gate.warn(
            images_in,
            "patients-unknown",
            "each picture counts as a patient of its own, so a split may put one person on both sides; name the "
            "patients by subfolders, a CSV or --pattern",
        )
    return PairedFolder(MODALITIES, False, _sequences(slots, gate))


def _by_stem(root: Path, gate: IntegrityGate) -> dict[str, Path]:
    """Pictures by their path below `root` without the ending."""
    files: dict[str, Path] = {}
    for file in _pictures(root):
        stem = file.relative_to(root).with_suffix("").as_posix()
        if stem in files:
            gate.error(file, "duplicate-slice", f"{files[stem].name} has the same name before the ending; keep one")
        else:
            files[stem] = file
    return files


def _pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted; hidden files and folders left out."""
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and os.path.isfile(file)
    ]


def _pair(gate: IntegrityGate, roles: tuple[str, ...], files: Mapping[str, Path]) -> Pair | None:
    """The pair of files that belong together, or None, and the gate is told what lacks."""
    file = next(iter(files.values()))
    missing = [role for role in roles if role not in files]
    if missing:
        listed = ", ".join(missing)
        gate.error(file, "no-image", f"there is no picture ({listed}) to it; add it or leave this file out")
    if "mask" not in files:
        gate.error(file, "no-mask", "there is no mask to it, so no truth to learn from; add it or leave this file out")
    if missing or "mask" not in files:
        return None
    return Pair(tuple(files[role] for role in roles), files["mask"])


def _sequences(slots: Iterable[_Slot], gate: IntegrityGate, consecutive: bool = False) -> tuple[PairedCase, ...]:
    """Cases: the slots of a patient and name by their numbers, broken at gaps.

    Args:
        slots: in any order.
        gate: is told of numbers that come twice.
        consecutive: a number that is missing is a gap, too.
    """
    groups: dict[tuple[str, str], list[_Slot]] = {}
    for slot in slots:
        groups.setdefault((slot.patient, slot.name), []).append(slot)
    return tuple(
        PairedCase(run[0].patient, run[0].name, tuple(slot.pair for slot in run if slot.pair), run[0].tumour_type)
        for group in groups.values()
        for run in _runs(_one_a_number(group, gate), consecutive)
    )


def _one_a_number(group: list[_Slot], gate: IntegrityGate) -> list[_Slot]:
    by_number: dict[int, _Slot] = {}
    for slot in sorted(group, key=lambda slot: slot.number):
        if slot.number in by_number:
            message = (
                f"comes after {by_number[slot.number].file} as slice {slot.number} of the same case; number it anew"
            )
            gate.error(slot.file, "duplicate-slice", message)
        else:
            by_number[slot.number] = slot
    return list(by_number.values())


def _runs(slots: list[_Slot], consecutive: bool) -> Iterator[list[_Slot]]:
    run: list[_Slot] = []
    for slot in slots:
        if run and (slot.pair is None or (consecutive and slot.number != run[-1].number + 1)):
            yield run
            run = []
        if slot.pair is not None:
            run.append(slot)
    if run:
        yield run
