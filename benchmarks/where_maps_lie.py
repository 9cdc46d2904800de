"""Where Grad-CAM, attention and entropy lie on the validation slices of a store.

    python benchmarks/where_maps_lie.py runs/figshare --data stores/figshare [--stride 8 ...] [--pictures FOLDER]

Of the slices that show a tumour and in which the model marks something: the share of each map's sum that lies inside
the true tumour, the same with three pixels around it, and how often the map's highest pixel lies inside. "uniform" is
a map that is the same everywhere: its share is the tumour's share of the slice. With `--stride`, Grad-CAM at other
levels of the network.
Pictures: slice with prediction and truth, then each map under the prediction's outline.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.special import entr

from toolkit.data.pipeline import WindowSet
from toolkit.data.regions import tumour_probability
from toolkit.data.store import Store
from toolkit.inference import grad_cam
from toolkit.inference.predictor import find_model
from toolkit.models.model_file import load_model
from toolkit.models.segmenter import split_segmenter
from toolkit.pictures import map_overlay, overlay, panel, save_png, stack, to_grey

AROUND = 3  # pixels of the model's grid
BITS = np.log(2)


class Explained(NamedTuple):
    """A slice, its truth `(size, size)`, the probability, and maps by name."""

    grey: np.ndarray
    truth: np.ndarray
    probability: np.ndarray
    maps: dict[str, np.ndarray]


def explained_slices(model_file: Path, store: Path, strides: list[int]) -> Iterator[Explained]:
    """Every validation slice that shows a tumour."""
    model, info = load_model(model_file)
    parts, cams = split_segmenter(model), {}
    for stride in strides:
        grad_cam.FINEST_STRIDE = stride
        cams[f"Grad-CAM at {stride}"] = grad_cam.GradCam(model, info.recipe.model, info.threshold)
    windows = WindowSet(Store(store), "val", info.recipe, augment=False)
    for number in range(len(windows)):
        slices, truth, counts = windows.load(0, number)
        kept = (counts > 0) & truth.any(axis=(1, 2, 3))
        if not kept.any():
            continue
        enhanced = np.asarray(parts.enhancer.predict_on_batch(slices[None]))[0, kept]
        said = {name: np.asarray(values) for name, values in parts.network.predict_on_batch(enhanced).items()}
        p = tumour_probability(said["probability"], info.recipe.model).clip(0, 1)
        maps = {name: cam(enhanced)[..., 0] for name, cam in cams.items()}
        if "attention" in said:
            maps["attention"] = said["attention"][..., 0]
        maps |= {"entropy": (entr(p) + entr(1 - p)) / BITS, "uniform": np.ones(p.shape)}
        for index, (image, mask) in enumerate(zip(slices[kept, ..., 0], truth[kept].any(axis=-1), strict=True)):
            yield Explained(to_grey(image, 0, 1), mask, p[index], {name: m[index] for name, m in maps.items()})


def where(values: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Share inside, share inside and around, and whether the highest is inside."""
    share = values / values.sum()
    around = binary_dilation(truth, iterations=AROUND)
    return share[truth].sum(), share[around].sum(), float(truth.flat[values.argmax()])


def row(explained: Explained) -> np.ndarray:
    """The pictures of a slice side by side; Grad-CAM is shown up to its own highest value."""
    grey, truth, probability, maps = explained
    columns = [("prediction, truth", overlay(grey, probability, truth, 256))]
    for name, values in maps.items():
        shown = values / max(values.max(), 1e-9) if name.startswith("Grad-CAM") else values
        columns.append((name, map_overlay(grey, shown, probability, 256)))
    return panel(columns[:-1])


def main() -> None:
    """Print the table, draw a sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--stride", type=int, nargs="+", default=[grad_cam.FINEST_STRIDE])
    parser.add_argument("--pictures", type=Path, help="folder for a sheet of twelve slices")
    arguments = parser.parse_args()
    found, unexplained, explained = defaultdict(list), 0, []
    for item in explained_slices(find_model(arguments.model), arguments.data, arguments.stride):
        if not all(values.any() for values in item.maps.values()):
            unexplained += 1
            continue
        explained.append(item)
        for name, values in item.maps.items():
            found[name].append(where(values, item.truth))
    print(f"{len(explained)} slices; {unexplained} more of which a map is 0 everywhere")
    print("| map | in the tumour | with 3 pixels around | highest pixel in it |\n|---|---|---|---|")
    for name, rows in found.items():
        print(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in np.mean(rows, axis=0))} |")
    if arguments.pictures:
        drawn = [explained[index] for index in np.linspace(0, len(explained) - 1, 12).astype(int)]
        save_png(arguments.pictures / "where_maps_lie.png", stack([row(item) for item in drawn]))


if __name__ == "__main__":
    main()
