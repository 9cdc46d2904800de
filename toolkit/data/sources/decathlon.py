"""Medical Segmentation Decathlon: `dataset.json` says what the files are."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.source import Source
from toolkit.data.sources.volumes import CaseFiles, Spacing, read_cases
from toolkit.errors import SourceError

INDEX = "dataset.json"
MAX_INDEX_BYTES = 2**24
# As the tasks of brain tumours call what the rest of the toolkit calls otherwise.
_MODALITY = {"flair": "t2f", "t1w": "t1n", "t1": "t1n", "t1gd": "t1c", "t1_gd": "t1c", "t2w": "t2w", "t2": "t2w"}


class _Pair(BaseModel):
    image: str = Field(max_length=1000)
    label: str = Field(max_length=1000)


class _Index(BaseModel):
    """What is read of `dataset.json`; other keys do not matter."""

    modality: dict[int, str] = Field(min_length=1, max_length=64)
    labels: dict[int, str] = Field(min_length=2, max_length=256)
    training: list[_Pair] = Field(min_length=1)


def is_decathlon(folder: Path) -> bool:
    """Whether a folder is a task of the Decathlon."""
    return (folder / INDEX).is_file()


def open_decathlon(folder: Path, gate: IntegrityGate, spacing_mm: Spacing | None) -> Source:
    """Open the training part of a task.

    The set names no patients, so each image counts as one.

    Args:
        folder: holds `dataset.json`.
        gate: gets the findings.
        spacing_mm: `(slice, row, column)` distances, used where files have a placeholder.

    Raises:
        SourceError: `dataset.json` can't be read, or names files outside the folder.
    """
    index = _read_index(folder / INDEX)
    modalities = [_MODALITY.get(name, name) for name in (_safe(index.modality[k]) for k in sorted(index.modality))]
    if len(set(modalities)) < len(modalities):
        raise SourceError(f"{folder / INDEX}: names a modality twice ({', '.join(modalities)}); mend it")
    # Value 0 is background, whatever it is called.
    label_map = {"background": 0}
    label_map |= {_safe(name).replace("edema", "oedema"): value for value, name in index.labels.items() if value > 0}
    cases = []
    for pair in index.training:
        image, label = _inside(folder, pair.image), _inside(folder, pair.label)
        name = image.name.removesuffix(".gz").removesuffix(".nii")
        cases.append(CaseFiles(image, name, name, dict.fromkeys(modalities, image), label))
    values = set(label_map.values()) - {0}
    files = tuple(file for case in cases for file in case.all_files if os.path.isfile(file))
    return Source("nifti", label_map, files, read_cases(cases, values, gate, spacing_mm))


def _read_index(path: Path) -> _Index:
    try:
        if path.stat().st_size > MAX_INDEX_BYTES:
            raise ValueError(f"over {MAX_INDEX_BYTES} bytes")
        index = _Index.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = " ".join(".".join(map(str, first["loc"])).split())[:160]
        raise SourceError(f"{path}: {where}: {first['msg']}; is it of the Decathlon?") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise SourceError(f"{path}: can't be read ({reason}); fetch it again") from error
    if not all(0 <= value <= 255 for value in index.labels):
        raise SourceError(f"{path}: labels: values go from 0 to 255; mend it")
    return index


def _inside(folder: Path, name: str) -> Path:
    """A path that `dataset.json` names, if it stays in the folder, also through links."""
    path = folder / name
    if not name.isprintable() or not path.resolve().is_relative_to(folder.resolve()):
        raise SourceError(f"{folder / INDEX}: names {name!r}, which is no file inside the folder; mend it")
    return path


def _safe(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")[:40] or "unnamed"
