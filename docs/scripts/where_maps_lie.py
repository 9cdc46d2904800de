"""Where Grad-CAM, attention and entropy lie on validation slices: python where_maps_lie.py MODEL.keras STORE."""

import sys
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.special import entr

from toolkit.data.pipeline import WindowSet
from toolkit.data.regions import tumour_probability
from toolkit.data.store import Store
from toolkit.inference.grad_cam import GradCam
from toolkit.models.model_file import load_model
from toolkit.models.segmenter import split_segmenter

NEAR = 3  # pixels


def main(model_file: str, store: str) -> None:
    """Print the table; see docs/explanation/what-maps-show.md."""
    model, info = load_model(Path(model_file))
    recipe = info.recipe
    parts, cam = split_segmenter(model), GradCam(model, recipe.model, info.threshold)
    windows = WindowSet(Store(Path(store)), "val", recipe, augment=False)
    inside: dict[str, list[float]] = {}
    near: dict[str, list[float]] = {}
    peak: dict[str, list[float]] = {}
    n_unmarked = 0
    for number in range(len(windows)):
        slices, truth, counts = windows.load(0, number)
        enhanced = np.asarray(parts.enhancer.predict_on_batch(slices[None]))[0]
        kept = (counts > 0) & truth.any(axis=(1, 2, 3))
        if not kept.any():
            continue
        said = {name: np.asarray(values) for name, values in parts.network.predict_on_batch(enhanced).items()}
        p = tumour_probability(said["probability"], recipe.model).clip(0, 1)
        maps = {"Grad-CAM": cam(enhanced)[..., 0], "entropy": entr(p) + entr(1 - p), "uniform": np.ones(p.shape)}
        if "attention" in said:
            maps["attention"] = said["attention"][..., 0]
        for index in np.flatnonzero(kept):
            if not (p[index] >= info.threshold).any():
                n_unmarked += 1
                continue
            tumour = truth[index].any(axis=-1)
            around = binary_dilation(tumour, iterations=NEAR)
            for name, values in maps.items():
                values = values[index] / values[index].sum()
                inside.setdefault(name, []).append(values[tumour].sum())
                near.setdefault(name, []).append(values[around].sum())
                peak.setdefault(name, []).append(tumour.flat[values.argmax()])
    print(f"{len(inside['uniform'])} slices; {n_unmarked} more without a marked pixel")
    print(f"{'':10} in the tumour  and {NEAR} pixels around  highest pixel in the tumour")
    for name in inside:
        print(f"{name:10} {np.mean(inside[name]):13.3f} {np.mean(near[name]):20.3f} {np.mean(peak[name]):28.3f}")


main(*sys.argv[1:])
