"""`tf.data` from a store to batches of windows.

Every random number is drawn from (seed, epoch, window), not from a stream, so an epoch
is the same whether it is reached in one go or after a resume, and whatever the number
of threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from toolkit.config import AugmentationRecipe, Recipe
from toolkit.data.grid import HALF, Grid, model_grid
from toolkit.data.intensity import normalise
from toolkit.data.regions import region_masks
from toolkit.data.store import Span, Store
from toolkit.data.windows import Window, windows
from toolkit.errors import StoreError
from toolkit.transforms.degradation import degrade
from toolkit.transforms.intensity import change_intensity
from toolkit.transforms.modalities import drop_modalities
from toolkit.transforms.spatial import draw_spatial, random_square

if TYPE_CHECKING:
    import tensorflow as tf

THREADS = 2
ENDLESS = -1  # tf.data.INFINITE_CARDINALITY


class WindowSet:
    """All windows of one part of a split, read on demand.

    Args:
        store: opened.
        part: "train", "val" or "test".
        recipe: its `task`, `data`, `model.regions`, `augmentation` and `pretraining` are read.
        augment: change windows at random.

    Raises:
        StoreError: the recipe works in mm and a case has no spacing.
    """

    def __init__(self, store: Store, part: str, recipe: Recipe, augment: bool) -> None:
        self.store, self.recipe, self.augment = store, recipe, augment
        restores = recipe.task == "enhance"
        self.target = "enhanced" if restores else "probability"
        self.target_channels = len(store.index.modalities) if restores else len(recipe.model.regions)
        size, crop = recipe.data.image_size, recipe.pretraining.crop if restores else 0
        self.size = crop or size
        self.crops = (size // self.size) ** 2
        rule = recipe.data.window
        self.windows: list[tuple[Span, Grid, Window]] = [
            (span, grid, window)
            for span in store.spans_of(recipe, part)
            for grid in [self._grid(span)]
            for window in windows(grid.n_slices, rule.slices, rule.halo, rule.shuffled)
        ]

    def __len__(self) -> int:
        """Windows; where squares are learned from, as often as these fit into a slice."""
        return len(self.windows) * self.crops

    def load(self, epoch: int, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One window, ready for the model.

        Args:
            epoch: with the window's number and the seed it decides the augmentation.
            number: of the window.

        Returns:
            Slices `(S, size, size, modalities)`, of the recipe's size or of its squares; what is to be
            learned of them, that is truth `(S, size, size, regions)`, or the slices before damage where
            the task is to enhance, both float32; and weights `(S,)`: in training 1 for every real slice
            (each has a truth to learn from), else 1 for the slices that count by the halo rule.
        """
        span, grid, window = self.windows[number % len(self.windows)]
        rng = np.random.default_rng([self.recipe.seed, epoch, number])
        load = self._load_to_restore if self.recipe.task == "enhance" else self._load_to_segment
        slices, truth = load(rng, span, grid, window)
        weights = window.real if self.augment else window.counts
        return slices, truth, weights.astype(np.float32)

    def _load_to_segment(
        self, rng: np.random.Generator, span: Span, grid: Grid, window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        n_modalities = span.case.shape[3]

        def read(indices: np.ndarray) -> np.ndarray:
            """Modalities, then memberships of regions: read once, resized alike."""
            images, mask = self.store.read(span.case, indices + span.start)
            normalised = normalise(images, np.array(span.case.intensity_range))
            return np.concatenate([normalised, region_masks(mask, self.recipe.model)], axis=-1)

        both = grid.images(read, window.slices)
        slices, truth = both[..., :n_modalities], (both[..., n_modalities:] >= HALF).astype(np.float32)
        if self.augment:
            slices, truth = augment_window(rng, self.recipe.augmentation, slices, truth)
            slices = drop_modalities(rng, self.recipe.augmentation.modality_dropout, slices)
        return slices, truth

    def _load_to_restore(
        self, rng: np.random.Generator, span: Span, grid: Grid, window: Window
    ) -> tuple[np.ndarray, np.ndarray]:
        def read(indices: np.ndarray) -> np.ndarray:
            images, _ = self.store.read(span.case, indices + span.start)
            return normalise(images, np.array(span.case.intensity_range))

        clean = grid.images(read, window.slices)
        clean = random_square(rng, clean, self.size) if self.size < grid.size else clean
        augmentation = self.recipe.augmentation
        if self.augment and rng.random() < augmentation.probability:
            clean = change_intensity(rng, augmentation, draw_spatial(rng, augmentation, self.size).image(clean))
        if self.augment:
            clean = drop_modalities(rng, augmentation.modality_dropout, clean)
        # Validation windows are damaged, too, but in every epoch alike.
        damaged = degrade(rng, self.recipe.pretraining.degradation, clean)
        # A gain alone is not blamed for what it can't undo.
        return damaged.slices, damaged.evened if self.recipe.model.enhancer.parts == "gain" else clean

    def _grid(self, span: Span) -> Grid:
        try:
            return model_grid((span.n_slices, *span.case.shape[1:3]), span.case.spacing_mm, self.recipe.data)
        except ValueError as error:
            raise StoreError(f"{self.store.path}: case {span.case.case}: {error} to bts-prepare") from error


def augment_window(
    rng: np.random.Generator, recipe: AugmentationRecipe, slices: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One draw for image and mask: both move alike, the image alone changes its intensity."""
    if rng.random() >= recipe.probability:
        return slices, truth
    change = draw_spatial(rng, recipe, slices.shape[1])
    return change_intensity(rng, recipe, change.image(slices)), change.mask(truth)


def training_batches(store: Store, recipe: Recipe, first_epoch: int = 0) -> tuple[tf.data.Dataset, int]:
    """Batches of the epochs from `first_epoch` on, without end, each epoch in an order of its own.

    Returns:
        Dataset of `({"slices"}, {target}, {target: weights})`, and the
        number of batches an epoch has (the last is filled from the epoch's start).
    """
    window_set = WindowSet(store, "train", recipe, augment=True)
    batch = recipe.data.batch_windows
    steps = -(-len(window_set) // batch)

    def order() -> Iterator[tuple[int, int]]:
        for epoch in count(first_epoch):
            numbers = np.random.default_rng([recipe.seed, epoch]).permutation(len(window_set))
            yield from ((epoch, int(number)) for number in np.resize(numbers, steps * batch))

    return _batches(window_set, order, ENDLESS), steps


def validation_batches(store: Store, recipe: Recipe, part: str = "val") -> tf.data.Dataset:
    """Batches of every window of a part, in order, unchanged; the last may be smaller."""
    window_set = WindowSet(store, part, recipe, augment=False)

    def order() -> Iterator[tuple[int, int]]:
        return ((0, number) for number in range(len(window_set)))

    return _batches(window_set, order, len(window_set))


def _batches(window_set: WindowSet, order, n_windows: int) -> tf.data.Dataset:
    import tensorflow as tf

    recipe = window_set.recipe
    n_slices, size = recipe.data.window.slices, window_set.size
    modalities, target = len(window_set.store.index.modalities), window_set.target

    def load(epoch, number):
        slices, truth, weights = tf.numpy_function(window_set.load, (epoch, number), (tf.float32,) * 3)
        slices.set_shape((n_slices, size, size, modalities))
        truth.set_shape((n_slices, size, size, window_set.target_channels))
        weights.set_shape((n_slices,))
        return {"slices": slices}, {target: truth}, {target: weights}

    numbers = tf.data.Dataset.from_generator(order, output_signature=(tf.TensorSpec((), tf.int64),) * 2)
    loaded = numbers.map(load, num_parallel_calls=THREADS, deterministic=True)
    # Keras wants to know how many there are, or it warns at the end of every first pass.
    counted = loaded.apply(tf.data.experimental.assert_cardinality(n_windows))
    return counted.batch(recipe.data.batch_windows).prefetch(2)
