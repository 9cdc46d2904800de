"""Writing a store, one case at a time."""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit import __version__
from toolkit.data.case import Case
from toolkit.data.intensity import intensity_range
from toolkit.data.splits import split_by_patient, split_by_slice_leaking, split_folds
from toolkit.data.store import DTYPES, INDEX, Block, CaseRecord, DatasetIndex, Splits
from toolkit.errors import SourceError
from toolkit.files import write_json

if TYPE_CHECKING:
    import tensorflow as tf

BLOCK_SLICES = 8
SHARD_BYTES = 64 * 2**20
PERCENTILES = (1, 25, 50, 75, 99)
TUMOUR = {"background": 0, "tumour": 1}


class StoreWriter:
    """Writes cases into shards; `finish` writes `dataset.json`.

    It keeps only what `dataset.json` holds, so memory does not grow with the pixels.

    Args:
        folder: an existing, empty folder (a temporary one: see `toolkit.files.atomic_path`).
        kind: name of the source, e.g. "figshare".
        seed: of the splits.
        label_map: label names and values of the masks.
    """

    def __init__(self, folder: Path, kind: str, seed: int, label_map: Mapping[str, int] = TUMOUR) -> None:
        self.folder, self.kind, self.seed, self.label_map = folder, kind, seed, dict(label_map)
        self.records: list[CaseRecord] = []
        self.modalities: tuple[str, ...] = ()
        self._writer: tf.io.TFRecordWriter | None = None
        self._shards: list[str] = []
        self._offset = 0

    def add(self, case: Case) -> None:
        """Append a case.

        Raises:
            SourceError: its modalities differ from those before, or its type can't be stored.
        """
        self.modalities = self.modalities or case.modalities
        if case.modalities != self.modalities:
            raise SourceError(f"{case.case}: modalities {case.modalities}, but {self.modalities} before it")
        if case.images.dtype.name not in DTYPES:
            raise SourceError(f"{case.case}: pixels of type {case.images.dtype} can't be stored")
        mask = np.zeros(case.images.shape[:3], np.uint8) if case.mask is None else case.mask
        blocks = [
            self._write(case, mask, start, min(start + BLOCK_SLICES, case.n_slices))
            for start in range(0, case.n_slices, BLOCK_SLICES)
        ]
        self.records.append(_record(case, mask, blocks))

    def finish(self) -> DatasetIndex:
        """Close the shards, draw the splits and write `dataset.json`.

        Raises:
            SourceError: no case was added.
        """
        if not self.records:
            raise SourceError("no case could be read; nothing to store")
        self._close()
        files = [self.folder / name for name in self._shards]
        index = DatasetIndex(
            kind=self.kind,
            synthetic=any(record.synthetic for record in self.records),
            seed=self.seed,
            created_with=f"brain-tumour-segmentation {__version__}",
            modalities=list(self.modalities),
            label_map=self.label_map,
            checksums_sha256={file.name: _sha256(file) for file in files},
            sizes_bytes={file.name: file.stat().st_size for file in files},
            splits=draw_splits(self.records, self.seed),
            cases=self.records,
        )
        write_json(self.folder / INDEX, index.model_dump(mode="json"))
        return index

    def _write(self, case: Case, mask: np.ndarray, start: int, stop: int) -> Block:
        import tensorflow as tf

        features = {
            "images": zlib.compress(_little_endian(case.images[start:stop]).tobytes(), 1),
            "mask": zlib.compress(mask[start:stop].astype(np.uint8).tobytes(), 1),
            "case": case.case.encode(),
        }
        feature = {
            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in features.items()
        }
        feature["start"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[start]))
        data = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
        if self._writer is None or self._offset > SHARD_BYTES:
            self._close()
            self._shards.append(f"shard-{len(self._shards):05d}.tfrecord")
            self._writer = tf.io.TFRecordWriter(str(self.folder / self._shards[-1]))
            self._offset = 0
        self._writer.write(data)
        block = Block(shard=self._shards[-1], offset=self._offset, length=len(data), start=start, stop=stop)
        self._offset += len(data) + 16  # TFRecord framing: length 8, checksums 4 + 4
        return block

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def draw_splits(records: list[CaseRecord], seed: int) -> Splits:
    """All named splits of the cases, stratified by the class most of a group's slices have."""
    slices_of: dict[str, Counter[str]] = {}
    for record in records:
        slices_of.setdefault(record.patient_group, Counter())[record.tumour_type or ""] += record.shape[0]
    classes = {group: counter.most_common(1)[0][0] for group, counter in slices_of.items()}
    slices = [(record.case, index) for record in records for index in range(record.shape[0])]
    slice_classes = [record.tumour_type or "" for record in records for _ in range(record.shape[0])]
    return Splits(
        by_patient=split_by_patient(classes, seed),
        folds=split_folds(classes, seed),
        by_slice_leaking=split_by_slice_leaking(slices, slice_classes, seed),
    )


def _record(case: Case, mask: np.ndarray, blocks: list[Block]) -> CaseRecord:
    same = ("case", "patient", "patient_group", "plane", "tumour_type", "synthetic", "spacing_mm")
    return CaseRecord(
        dtype=case.images.dtype.name,
        shape=case.images.shape,
        slice_names=list(case.slice_names),
        affine=None if case.affine is None else np.asarray(case.affine, float).tolist(),
        intensity_range=intensity_range(case.images).tolist(),
        # One modality at a time: of a whole volume a sorted copy is a matter of gigabytes.
        percentiles=[np.percentile(case.images[..., m], PERCENTILES).tolist() for m in range(case.images.shape[3])],
        tumour_pixels=(mask > 0).sum(axis=(1, 2)).tolist(),
        blocks=blocks,
        present=() if all(case.present) else case.present,
        **{name: getattr(case, name) for name in same},
    )


def _little_endian(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
