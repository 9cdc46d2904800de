"""The store: TFRecord shards of slice blocks, and `dataset.json` that says what is in them."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolkit.config import Recipe
from toolkit.data.case import PLANES, Case
from toolkit.data.sources.figshare import patient_stem
from toolkit.data.splits import N_FOLDS, PARTS, check_no_leak
from toolkit.errors import StoreError

FORMAT: Literal[1] = 1
INDEX = "dataset.json"
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
# A record is a block of slices, decompressed whole; more than this is not ours.
MAX_BLOCK_BYTES = 2**30
SplitName = Literal["by_patient", "folds", "by_slice_leaking"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Block(_Entry):
    """Where some neighbouring slices of a case lie: bytes of a record within a shard."""

    shard: str = Field(pattern=r"^[A-Za-z0-9_-]+\.tfrecord$")
    offset: int = Field(ge=0)
    length: int = Field(gt=0, le=MAX_BLOCK_BYTES)
    start: int = Field(ge=0)
    stop: int = Field(gt=0)


class CaseRecord(_Entry):
    """A case without its pixels; fields as in `toolkit.data.case.Case`.

    `intensity_range` is `(modalities, 2)` of `toolkit.data.intensity`; `percentiles` are the
    1st, 25th, 50th, 75th and 99th of all pixels of each modality; `tumour_pixels` is the
    number of pixels with a label above 0 in each slice; `present` is empty where no modality is missing.
    """

    case: str
    patient: str
    patient_group: str
    plane: Literal[PLANES]  # type: ignore[valid-type]
    tumour_type: str | None
    synthetic: bool
    present: tuple[bool, ...] = ()
    dtype: Literal[DTYPES]  # type: ignore[valid-type]
    shape: tuple[int, int, int, int]
    slice_names: list[str]
    affine: list[list[float]] | None
    spacing_mm: tuple[float, float, float] | None
    intensity_range: list[tuple[float, float]]
    percentiles: list[list[float]]
    tumour_pixels: list[int]
    blocks: list[Block]


class Splits(_Entry):
    """Named splits: patient groups, but for the leaking one, which lists (case, slice)."""

    by_patient: dict[str, list[str]]
    folds: list[list[str]]
    by_slice_leaking: dict[str, list[tuple[str, int]]]


class DatasetIndex(_Entry):
    """All of `dataset.json`."""

    format: Literal[1] = FORMAT
    kind: str
    synthetic: bool
    seed: int
    created_with: str
    modalities: list[str]
    label_map: dict[str, int]
    checksums_sha256: dict[str, str]
    sizes_bytes: dict[str, int]
    splits: Splits
    cases: list[CaseRecord]


@dataclass(frozen=True)
class Span:
    """Neighbouring slices `start` to `stop` of a case that belong to one part of a split."""

    case: CaseRecord
    start: int
    stop: int

    @property
    def n_slices(self) -> int:
        """Number of slices."""
        return self.stop - self.start


class Store:
    """A store opened for reading, its splits checked.

    Args:
        path: folder written by `bts-prepare`.

    Raises:
        StoreError: no store there, `dataset.json` is damaged, a shard is missing or
            short, or a split by patient leaks.

    Example:
        store = Store(Path("stores/figshare"))
        for span in store.spans("by_patient", "val"):
            images, mask = store.read(span.case, range(span.start, span.stop))
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.index = self._load_index()
        self._cases = {record.case: record for record in self.index.cases}
        self._check_shards()
        self._check_splits()

    def spans(self, split: SplitName, part: str, fold: int = 0) -> list[Span]:
        """Slice spans of one part of a split.

        Args:
            split: name of the split.
            part: "train", "val" or "test"; folds have no test part.
            fold: the validation fold, where `split` is "folds".

        Raises:
            StoreError: there is no such part, or nothing is in it.
        """
        splits = self.index.splits
        if split == "by_slice_leaking":
            chosen = splits.by_slice_leaking.get(part, [])
            spans = [Span(self._cases[case], index, index + 1) for case, index in chosen]
        else:
            groups = set(splits.by_patient.get(part, []) if split == "by_patient" else self._fold(part, fold))
            spans = [Span(c, 0, c.shape[0]) for c in self.index.cases if c.patient_group in groups]
        if not spans and (split, part) == ("folds", "test"):
            raise StoreError(f"{self.path}: folds have no test part; choose train or val, or the split by_patient")
        if not spans:
            raise StoreError(f"{self.path}: split {split} has nothing in {part!r}; prepare more patients")
        return spans

    def spans_of(self, recipe: Recipe, part: str) -> list[Span]:
        """Slice spans of the part that a recipe learns from or is judged by.

        Raises:
            StoreError: there is no such part, nothing is in it, or the recipe asks for more patients, or leaves out
                others, than it has.
        """
        data = recipe.data
        spans = self.spans(data.split, part, data.fold)
        if part != "train":
            return spans
        unknown = set(data.left_out_patients) - {record.patient_group for record in self.index.cases}
        if unknown:
            raise StoreError(f"{self.path}: data.left_out_patients names {min(unknown)}, a patient group it has not")
        spans = [span for span in spans if span.case.patient_group not in data.left_out_patients]
        if not spans:
            raise StoreError(f"{self.path}: data.left_out_patients leaves no patient to learn from; name fewer")
        if not data.training_patients:
            return spans
        groups = sorted({span.case.patient_group for span in spans})
        if data.training_patients > len(groups):
            raise StoreError(
                f"{self.path}: data.training_patients asks for {data.training_patients} patient groups, "
                f"the training part has {len(groups)}; ask for fewer"
            )
        drawn = np.random.default_rng(recipe.seed).permutation(groups)[: data.training_patients]
        return [span for span in spans if span.case.patient_group in drawn]

    def verify(self) -> None:
        """Compare every shard with its checksum; at about 1 GB a second worth it before a training.

        Raises:
            StoreError: a shard is not what was written.
        """
        for name, expected in self.index.checksums_sha256.items():
            with (self.path / name).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != expected:
                    raise StoreError(f"{self.path / name}: shard is damaged (checksum); prepare the store again")

    def read(self, record: CaseRecord, slices: range | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read slices of a case; only the blocks that hold them are touched.

        Args:
            record: the case.
            slices: indices; repeats are allowed.

        Returns:
            Images `(n, height, width, modalities)` as stored, mask `(n, height, width)` uint8.

        Raises:
            StoreError: a shard is damaged, or no block holds a slice.
        """
        wanted = np.asarray(slices)
        missing = [s for s in wanted.tolist() if not any(b.start <= s < b.stop for b in record.blocks)]
        if missing:
            raise StoreError(f"{self.path}: case {record.case} has no slice {missing[0]}; prepare the store again")
        images = np.empty((len(wanted), *record.shape[1:]), record.dtype)
        mask = np.empty(images.shape[:3], np.uint8)
        for block in record.blocks:
            here = (wanted >= block.start) & (wanted < block.stop)
            if here.any():
                block_images, block_mask = self._read_block(record, block)
                images[here] = block_images[wanted[here] - block.start]
                mask[here] = block_mask[wanted[here] - block.start]
        return images, mask

    def case(self, record: CaseRecord) -> Case:
        """A whole case with its pixels."""
        images, mask = self.read(record, range(record.shape[0]))
        same = ("patient", "case", "patient_group", "spacing_mm", "plane", "tumour_type", "synthetic", "present")
        return Case(
            images=images,
            mask=mask,
            modalities=tuple(self.index.modalities),
            affine=None if record.affine is None else np.array(record.affine),
            slice_names=tuple(record.slice_names),
            **{name: getattr(record, name) for name in same},
        )

    def _fold(self, part: str, fold: int) -> list[str]:
        folds = self.index.splits.folds
        if part == "val":
            return folds[fold]
        return [g for k, groups in enumerate(folds) if k != fold for g in groups] if part == "train" else []

    def _load_index(self) -> DatasetIndex:
        file = self.path / INDEX
        if not file.is_file():
            raise StoreError(f"{self.path}: no store here ({INDEX} is missing); make one with bts-prepare")
        try:
            return DatasetIndex.model_validate(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, ValidationError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
            raise StoreError(f"{file}: damaged ({reason}); prepare the store again") from error

    def _check_shards(self) -> None:
        for name, size in self.index.sizes_bytes.items():
            file = self.path / name
            if Path(name).name != name or not file.is_file() or file.stat().st_size != size:
                raise StoreError(f"{file}: shard is missing or not whole; prepare the store again")

    def _check_splits(self) -> None:
        splits = self.index.splits
        origin = f"{self.path / INDEX}"
        folds = {f"fold {k}": groups for k, groups in enumerate(splits.folds)}
        check_no_leak(splits.by_patient, f"{origin}, split by_patient")
        check_no_leak(folds, f"{origin}, split folds")
        groups = {record.patient_group for record in self.index.cases}
        for name, parts in (("by_patient", splits.by_patient), ("folds", folds)):
            if {group for part in parts.values() for group in part} != groups:
                raise StoreError(f"{origin}: split {name} does not list the patient groups of its cases")
        if set(splits.by_patient) != set(PARTS) or len(folds) != N_FOLDS:
            raise StoreError(f"{origin}: splits are not complete; prepare the store again")
        unknown = {case for part in splits.by_slice_leaking.values() for case, _ in part} - set(self._cases)
        if unknown:
            raise StoreError(f"{origin}: split by_slice_leaking names no case of the store; prepare the store again")
        self._check_patients(origin)

    def _check_patients(self, origin: str) -> None:
        group_of: dict[str, str] = {}
        for record in self.index.cases:
            if self.index.kind == "figshare" and record.patient_group != patient_stem(record.patient):
                raise StoreError(
                    f"{origin}: patient {record.patient} is not in the group of its stem, so a split could "
                    "leak; prepare the store again"
                )
            if group_of.setdefault(record.patient, record.patient_group) != record.patient_group:
                raise StoreError(
                    f"{origin}: patient {record.patient} is in two patient groups, so a split could leak; "
                    "prepare the store again"
                )

    def _read_block(self, record: CaseRecord, block: Block) -> tuple[np.ndarray, np.ndarray]:
        from tensorflow.core.example import example_pb2

        file = self.path / block.shard
        try:
            with file.open("rb") as stream:
                # TFRecord framing: length (8 bytes), its checksum (4), data, checksum (4).
                stream.seek(block.offset + 12)
                feature = example_pb2.Example.FromString(stream.read(block.length)).features.feature
            shape = (block.stop - block.start, *record.shape[1:])
            images = _inflate(feature["images"].bytes_list.value[0], record.dtype, shape)
            mask = _inflate(feature["mask"].bytes_list.value[0], "uint8", shape[:3])
        except Exception as error:  # protobuf, zlib and I/O each have their own
            raise StoreError(f"{file}: block at byte {block.offset} is damaged; prepare the store again") from error
        return images, mask


def _inflate(data: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size > MAX_BLOCK_BYTES:
        raise ValueError("block is too large")
    stream = zlib.decompressobj()
    inflated = stream.decompress(data, size + 1)  # one more than there is, so that the checksum at the end is read
    if not stream.eof:
        raise ValueError("block is not whole")
    return np.frombuffer(inflated, np.dtype(dtype).newbyteorder("<")).reshape(shape)
