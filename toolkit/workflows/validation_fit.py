"""What `bts-evaluate` fits on validation patients and stores in a model file begins and ends alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.data.store import Span, Store
from toolkit.errors import ModelError
from toolkit.files import write_json
from toolkit.inference.predictor import KERAS, Predictor, find_model
from toolkit.manifest import Manifest, file_checksums
from toolkit.models.model_file import replace_info
from toolkit.workflows.evaluate import judged_part, predicted


class ValidationFit:
    """A model file, and the validation patients of a store that something in it is fitted on.

    Args:
        model: run folder, `.keras` file, or the name of a model in saved_models/.
        store_path: folder written by `bts-prepare`.
        remedy: what to do with the run instead, if `model` is an export of it.

    Raises:
        ModelError: the model can't be read, does not fit the store, or is an exported one.
        StoreError: the store can't be read, has no such part, or the model has learned from its patients.
    """

    def __init__(self, model: Path, store_path: Path, remedy: str) -> None:
        self._manifest = Manifest()
        self.path = find_model(model)
        if self.path.suffix != KERAS:
            raise ModelError(
                f"{self.path}: is an exported model; {remedy} the run it was made from, then export that again"
            )
        self.predictor, self.store = Predictor(self.path), Store(store_path)
        self._part = judged_part(self.predictor, self.store, "val")

    def cases(self, what: str) -> Iterator[tuple[Span, np.ndarray, np.ndarray]]:
        """See `toolkit.workflows.evaluate.predicted`; `what` is said beside the progress bar."""
        return predicted(self.predictor, self.store, self._part.spans, what)

    @property
    def facts(self) -> dict[str, Any]:
        """`model` (the file), `split`, `split_leaks_patients`, `n_images`, `n_patients`."""
        spans = self._part.spans
        return {
            "model": str(self.path),
            "split": self._part.split,
            "split_leaks_patients": self._part.leaks,
            "n_images": sum(span.n_slices for span in spans),
            "n_patients": len({span.case.patient_group for span in spans}),
        }

    def keep(self, out: Path, **found: Any) -> None:
        """Store what was found in the model file, and how in `out`/manifest.json, with the file's checksum from before.

        Raises:
            OutputError: one of them can't be written.
        """
        content = self._manifest.content(model=file_checksums([self.path]), store=self.store.index.checksums_sha256)
        replace_info(self.path, self.predictor.info.model_copy(update=found))
        write_json(out / "manifest.json", content)
