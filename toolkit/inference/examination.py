"""All that is asked of a model about one case, slice by slice."""

from __future__ import annotations

import numpy as np

from toolkit.data.case import Case
from toolkit.data.intensity import CLIP
from toolkit.data.regions import label_mask
from toolkit.inference.answer import Answer
from toolkit.inference.postprocessing import likeliest_labels, post_processed
from toolkit.inference.predictor import Opinions, Predictor
from toolkit.inference.runtimes.runtime import ATTENTION, ENHANCED, GRAD_CAM
from toolkit.inference.uncertainty import IN_QUESTION_FROM, calibrated, predictive_entropy, review_score

EXPLANATION = (ATTENTION, GRAD_CAM)
# Standard deviation of probabilities that are 0 and 1 in turn, the largest there is.
MOST_DISAGREEMENT = 0.5


def examine(
    predictor: Predictor, case: Case, shown: int = 0, explain: bool = False, value_range: np.ndarray | None = None
) -> Answer:
    """Ask a model about a case. What is kept of a slice is bytes a pixel, so that long volumes fit into memory.

    Args:
        predictor: the model.
        case: `images` as stored, `spacing_mm` where known.
        shown: which modality the enhanced image is kept of.
        explain: also ask for attention and Grad-CAM, as far as the network has them.
        value_range: `(modalities, 2)` of the case, where it is known already.

    Raises:
        ModelError: the case does not fit the model, the model can't be run, or it can't be explained.
        ServerError: the server does not answer.
    """
    wanted = list(predictor.shows & {ENHANCED}) if predictor.info.recipe.model.enhancer.kind != "none" else []
    if explain:
        # A network without gates has no attention to show, but any network in Keras has a Grad-CAM.
        wanted += [GRAD_CAM, *(predictor.shows & {ATTENTION})]
    notes = _Notes(predictor, case.images.shape[:3], shown)
    for index, opinions in enumerate(predictor.stream(case.images, value_range, case.spacing_mm, wanted)):
        notes.take(index, opinions)
    return notes.answer(case.spacing_mm)


class _Notes:
    """What is kept of the slices that have been seen."""

    def __init__(self, predictor: Predictor, shape: tuple[int, ...], shown: int) -> None:
        self._predictor, self._shape, self._shown = predictor, shape, shown
        self._labels, self._likeliest, self._uncertainty = (np.zeros(shape, np.uint8) for _ in range(3))
        # Two bytes hold a probability near 0 well enough for a sum over many pixels, which one byte would not.
        self._tumour = np.zeros(shape, np.float16)
        self._in_question = np.zeros(shape, bool)
        self._highest = np.zeros(shape[0], np.float32)
        self._disagreement = np.zeros(shape, np.uint8) if predictor.n_members > 1 else None
        self._maps: dict[str, np.ndarray] = {}

    def take(self, index: int, opinions: Opinions) -> None:
        """Keep what all members say of a slice."""
        info, mean = self._predictor.info, opinions.probability.mean(axis=0)
        self._labels[index] = label_mask(mean, info.recipe.model, info.threshold)
        self._likeliest[index] = likeliest_labels(mean, info.recipe.model)
        certain = calibrated(mean, info.temperature, info.recipe.model, info.offsets)
        tumour = self._predictor.tumour(certain)
        self._tumour[index], self._highest[index] = tumour, tumour.max()
        self._in_question[index] = self._predictor.tumour(mean) >= IN_QUESTION_FROM
        self._uncertainty[index] = _in_bytes(predictive_entropy(certain, info.recipe.model))
        if self._disagreement is not None:
            spread = self._predictor.tumour(opinions.probability).std(axis=0)
            self._disagreement[index] = _in_bytes(spread / MOST_DISAGREEMENT)
        for name, values in opinions.maps.items():
            own = values[..., self._shown] / CLIP if name == ENHANCED else values[..., 0]
            kept = self._maps.setdefault(name, np.zeros(self._shape, np.float32 if name == GRAD_CAM else np.uint8))
            kept[index] = own if name == GRAD_CAM else _in_bytes(own)

    def answer(self, spacing_mm: tuple[float, float, float] | None) -> Answer:
        """What comes of them all."""
        info, maps = self._predictor.info, self._maps
        mask = post_processed(self._labels, self._likeliest, info.post_processing, info.recipe, spacing_mm)
        if GRAD_CAM in maps:
            largest = maps[GRAD_CAM].max()
            maps[GRAD_CAM] = _in_bytes(maps[GRAD_CAM] / largest if largest > 0 else maps[GRAD_CAM])
        return Answer(
            mask=mask,
            highest_probability=self._highest,
            review_score=review_score(mask, self._tumour, self._in_question),
            uncertainty=self._uncertainty,
            disagreement=self._disagreement,
            attention=maps.get(ATTENTION),
            grad_cam=maps.get(GRAD_CAM),
            enhanced=maps.get(ENHANCED),
        )


def _in_bytes(values: np.ndarray) -> np.ndarray:
    """0 to 1 as 0 to 255."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
