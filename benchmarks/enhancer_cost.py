"""What an enhancer adds to a training step and to prediction of the network behind it, slice for slice.

    python benchmarks/enhancer_cost.py --out DIR [--sizes 128 256] [--modalities 1 3] [--rounds 30]

Segmenters of the recipe `figshare` that differ in the enhancer alone take turns, a training step and a prediction
each in every round; a figure is the median over rounds of a round's time over that of the network without an
enhancer, with a 95 % interval (bootstrap over rounds). Among them is one with Keras' own ConvLSTM2D in the place of
ours. Random numbers for slices. Writes enhancer_cost.csv into DIR. Leave the machine alone meanwhile: about 50 minutes
on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ratios import ratio

from toolkit.config import Recipe, check_recipe, load_recipe
from toolkit.files import write_csv
from toolkit.losses import DiceFocalLoss
from toolkit.models import enhancer
from toolkit.models.segmenter import build_segmenter
from toolkit.training.optimizer import build_optimizer

N_SLICES = 4
WINDOWS = {128: 4, 256: 2}  # of a batch
BASE = "no enhancer"
KERAS = "convlstm with Keras' ConvLSTM2D"
VARIANTS: dict[str, dict[str, Any]] = {
    BASE: {"kind": "none"},
    "convlstm": {},
    KERAS: {},
    "convlstm, full resolution": {"resolution": "full"},
    "convlstm, two layers": {"layers": 2},
    "lstm": {"kind": "lstm"},
    "cnn": {"kind": "cnn"},
}


class KerasConvLSTM(keras.layers.Bidirectional):
    """Keras' own layer, called as `SliceConvLSTM` is."""

    def __init__(self, filters: int, bidirectional: bool, name: str) -> None:
        assert bidirectional
        inner = keras.layers.ConvLSTM2D(
            filters, 3, padding="same", recurrent_activation="sigmoid", return_sequences=True, name=f"{name}_cell"
        )
        super().__init__(inner, name=name)


@contextmanager
def layers_of(name: str) -> Iterator[None]:
    """Build with Keras' layer where the variant says so."""
    ours = enhancer.SliceConvLSTM
    if name == KERAS:
        enhancer.SliceConvLSTM = KerasConvLSTM  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        enhancer.SliceConvLSTM = ours  # type: ignore[misc]


def build(name: str, size: int, modalities: int) -> keras.Model:
    """A compiled segmenter of the recipe `figshare` with this enhancer."""
    recipe: Recipe = load_recipe("figshare")
    values = recipe.model_dump(mode="json")
    values["data"] |= {"image_size": size, "window": {"slices": N_SLICES, "halo": 1}}
    values["model"] |= {"encoder_weights": "none"}
    values["model"]["enhancer"] |= VARIANTS[name]
    recipe = check_recipe(values, name)
    with layers_of(name):
        model = build_segmenter(recipe, modalities)
    model.compile(build_optimizer(recipe, model, 100), loss={"probability": DiceFocalLoss()}, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def steps(model: keras.Model, size: int, modalities: int) -> dict[str, Callable[[], Any]]:
    """A training step and a prediction, ready to be timed."""
    rng = np.random.default_rng(1)
    shape = (WINDOWS[size], N_SLICES, size, size)
    slices = tf.constant(rng.random((*shape, modalities), np.float32))
    truth = tf.constant((rng.random((*shape, 1)) > 0.95).astype(np.float32))
    predict = tf.function(lambda: model({"slices": slices}, training=False)["probability"])
    return {
        "training step": lambda: model.train_on_batch({"slices": slices}, {"probability": truth}),
        "prediction": lambda: predict().numpy(),
    }


def measure(size: int, modalities: int, rounds: int) -> Iterator[dict[str, Any]]:
    """A row for each variant and step."""
    built = {name: steps(build(name, size, modalities), size, modalities) for name in VARIANTS}
    seconds: dict[tuple[str, str], list[float]] = {(name, step): [] for name in built for step in built[name]}
    for turn in range(rounds + 2):
        for name, its in built.items():
            for step, run in its.items():
                start = time.perf_counter()
                run()
                if turn >= 2:  # the first is traced, the second warms up
                    seconds[name, step].append(time.perf_counter() - start)
    n_slices = WINDOWS[size] * N_SLICES
    for (name, step), times in seconds.items():
        longer, low, high = ratio(times, seconds[BASE, step])
        yield {
            "size": size,
            "modalities": modalities,
            "enhancer": name,
            "step": step,
            "ms_a_slice": round(1e3 * float(np.median(times)) / n_slices, 2),
            "ratio": round(longer, 3),
            "ratio_low": round(low, 3),
            "ratio_high": round(high, 3),
        }


def main() -> None:
    """Measure all sizes and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256], choices=list(WINDOWS))
    parser.add_argument("--modalities", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    rows = []
    for size in arguments.sizes:
        for modalities in arguments.modalities:
            for row in measure(size, modalities, arguments.rounds):
                print(*row.values(), sep="  ", flush=True)
                rows.append(row)
            keras.backend.clear_session()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.out / "enhancer_cost.csv", rows)


if __name__ == "__main__":
    main()
