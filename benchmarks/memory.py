"""Peak memory of predicting volumes of more and more slices: is it a line, and where does it lie at 155 slices?

    python benchmarks/memory.py --out DIR [--slices 40 80 155 320 640]

A model of the recipe `brats` (four modalities, 160 px), as `.keras` and as `.tflite` file, marks synthetic heads of
240 x 240 pixels with `bts-predict`, each in a process of its own. The model is not trained, but made to mark a
hundredth of the pixels, so that there is something to measure. Writes memory.json, memory.md and memory.png into DIR.
About 10 minutes on two cores.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import keras
import nibabel as nib
import numpy as np
from processes import cost

from toolkit.config import load_recipe
from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.sources.brats import LABELS, MODALITIES
from toolkit.data.sources.phantom import phantom_cases
from toolkit.files import atomic_path, write_json
from toolkit.manifest import Manifest
from toolkit.models.model_file import ModelInfo, save_model
from toolkit.models.segmenter import build_segmenter
from toolkit.workflows.export import Target, export

SEED = 1
PLANE = 240
MADE_SLICES = 40  # of a head; longer volumes repeat it
BRATS_SLICES, LIMIT_MB = 155, 1500
MARKED = 0.01


class Line(NamedTuple):
    """A straight line through measured points.

    Args:
        at_zero: its value at 0.
        slope: of it.
        largest_residual: by which a point misses it.
    """

    at_zero: float
    slope: float
    largest_residual: float


def line(x: Sequence[float], y: Sequence[float]) -> Line:
    """The line of least squares."""
    slope, at_zero = np.polyfit(x, y, 1)
    residuals = np.abs(np.asarray(y) - (at_zero + slope * np.asarray(x)))
    return Line(float(at_zero), float(slope), float(residuals.max()))


def write_models(folder: Path) -> dict[str, Path]:
    """A model of the recipe `brats`, as drawn, as both kinds of file."""
    recipe = load_recipe("brats")
    info = ModelInfo(
        recipe=recipe,
        modalities=MODALITIES,
        label_map=LABELS,
        data_kind="phantom",
        data_checksums_sha256={},
        synthetic_data=True,
    )
    model = folder / "brats.keras"
    network = build_segmenter(recipe, len(MODALITIES))
    mark_some(network, recipe.data.image_size)
    save_model(network, model, info)
    target = Target("tflite")
    export(model, [target], folder)
    return {"Keras": model, "TFLite float32": folder / target.file_name(recipe.name)}


def mark_some(model: keras.Model, size: int) -> None:
    """Shift the logits of every region so that `MARKED` of a head's pixels are in it."""
    head = np.repeat(synthetic_head(size, model.inputs[0].shape[1]), len(MODALITIES), axis=-1)
    logits = model.get_layer("logits")
    seen = normalise(head, intensity_range(head))[None]
    values = keras.ops.convert_to_numpy(keras.Model(model.inputs, logits.output)({"slices": seen}))
    kernel, bias = logits.get_weights()
    logits.set_weights([kernel, bias - np.quantile(values, 1 - MARKED, axis=(0, 1, 2))])


def synthetic_head(size: int, n_slices: int) -> np.ndarray:
    """Slices `(n_slices, size, size, 1)` int16."""
    return next(phantom_cases(1, SEED, size, n_slices)).images


def write_volume(folder: Path, n_slices: int) -> Path:
    """A synthetic head in four modalities of int16, as a BraTS folder."""
    head = synthetic_head(PLANE, MADE_SLICES)[..., 0]
    volume = np.moveaxis(np.resize(head, (n_slices, PLANE, PLANE)), 0, 2)
    case = folder / f"BraTS-GLI-{n_slices:05d}-000"
    case.mkdir()
    for index, modality in enumerate(MODALITIES):
        image = nib.Nifti1Image((volume + 10 * index).astype(np.int16), np.eye(4))
        nib.save(image, case / f"{case.name}-{modality}.nii.gz")
    return case


def measure(sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """A row for each model and number of slices."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        models = write_models(folder)
        for n_slices in sizes:
            volume = write_volume(folder, n_slices)
            for kind, model in models.items():
                out = folder / f"{n_slices}_{model.stem}"
                spent = cost([sys.executable, "-m", "cli.predict", volume, "--model", model, "--out", out])
                row = {
                    "model": kind,
                    "slices": n_slices,
                    "peak_mb": round(spent.peak_mb),
                    "seconds": round(spent.seconds, 1),
                }
                print(*row.values(), sep="  ", flush=True)
                yield row


def fitted(rows: Sequence[dict[str, Any]]) -> dict[str, Line]:
    """The line of each model."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    of = {model: [row for row in rows if row["model"] == model] for model in models}
    return {model: line([r["slices"] for r in its], [r["peak_mb"] for r in its]) for model, its in of.items()}


def markdown(rows: Sequence[dict[str, Any]], lines: dict[str, Line]) -> Iterator[str]:
    """Peaks, and the line through them."""
    sizes = sorted({row["slices"] for row in rows})
    peaks = {(row["model"], row["slices"]): row["peak_mb"] for row in rows}
    yield f"| peak memory, MB | {' | '.join(f'{n} slices' for n in sizes)} | at 0 slices | a slice | largest residual |"
    yield f"|---|{'---|' * (len(sizes) + 3)}"
    for model, its in lines.items():
        of_sizes = " | ".join(str(peaks[model, n]) for n in sizes)
        yield f"| {model} | {of_sizes} | {its.at_zero:.0f} | {its.slope:.2f} | {its.largest_residual:.0f} |"


def save_picture(path: Path, rows: Sequence[dict[str, Any]], lines: dict[str, Line]) -> None:
    """Points, lines, and the limit for a volume of BraTS."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    longest = max(row["slices"] for row in rows)
    for model, its in lines.items():
        points = [(row["slices"], row["peak_mb"]) for row in rows if row["model"] == model]
        (drawn,) = axes.plot([0, longest], [its.at_zero, its.at_zero + its.slope * longest], linewidth=1)
        axes.plot(*zip(*points, strict=True), "o", color=drawn.get_color(), label=model)
    axes.plot([BRATS_SLICES], [LIMIT_MB], "kv", label=f"limit: {LIMIT_MB} MB at {BRATS_SLICES} slices")
    axes.set(xlim=(0, None), ylim=(0, None), xlabel="slices of 240 x 240 pixels, four modalities")
    axes.set_ylabel("peak memory of bts-predict, MB")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120)


def main() -> None:
    """Measure, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--slices", type=int, nargs="+", default=[40, 80, BRATS_SLICES, 320, 640])
    arguments = parser.parse_args()
    manifest = Manifest(SEED)
    rows = list(measure(arguments.slices))
    lines = fitted(rows)
    result = {**manifest.content(limit_mb=LIMIT_MB), "peaks": rows, "lines": {m: i._asdict() for m, i in lines.items()}}
    write_json(arguments.out / "memory.json", result)
    text = "\n".join(markdown(rows, lines)) + "\n"
    with atomic_path(arguments.out / "memory.md") as partial:
        partial.write_text(text, encoding="utf-8")
    save_picture(arguments.out / "memory.png", rows, lines)
    print(text)


if __name__ == "__main__":
    main()
