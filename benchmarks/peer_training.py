"""Networks of MONAI and nnU-Net, trained on a fold for as long as ours, and judged by the same code.

    python benchmarks/peer_training.py STORE --network flexible_unet --fold 0 --minutes 20 --peers PYTHON \
        [--against RUN] --out DIR

STORE is a store of one modality; PYTHON the interpreter that has benchmarks/peers/requirements.txt. What they get is
what the recipe `figshare` gives its network: slices of the training part at 128 px, brought to 0-1. Augmentation,
loss, optimiser and normalisation are their own (see benchmarks/peers/train_network.py); minutes are CPU time over the
cores that may be used, as `training.minutes` is. Their last weights are judged: no epoch is chosen. Probabilities are
resized to the slices' own size and cut at 0.5, as ours are. Writes metrics.json, per_image.csv, per_patient.csv,
per_lesion.csv and probability.npy into DIR; with --against (our run of the same fold) difference.json, too: mean over
patient groups of ours minus theirs, with its 95 % interval.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from toolkit.config import Recipe, load_recipe
from toolkit.cores import usable_cores
from toolkit.data.pipeline import WindowSet
from toolkit.data.store import Store
from toolkit.evaluation.comparison import paired_test, patient_dice, picture_scores
from toolkit.evaluation.evaluator import CaseResult, evaluate_cases, read_per_image
from toolkit.files import write_json
from toolkit.manifest import Manifest
from toolkit.workflows.evaluate import case_result

NETWORKS = ("flexible_unet", "attention_unet", "nnunet_2d")
TRAINER = Path(__file__).parent / "peers" / "train_network.py"
THRESHOLD = 0.5


def slices_of(windows: WindowSet) -> tuple[np.ndarray, np.ndarray]:
    """All slices of a part and their masks, `(n, size, size)` float32 and uint8."""
    loaded = [windows.load(0, number) for number in range(len(windows))]
    images = np.stack([slices[0, ..., 0] for slices, _, _ in loaded])
    return images, np.stack([truth[0, ..., 0] for _, truth, _ in loaded]).astype(np.uint8)


def results(store: Store, windows: WindowSet, probability: np.ndarray) -> Iterator[CaseResult]:
    """What a peer says of each case, at the case's own size."""
    first = 0
    for _, its in groupby(windows.windows, key=lambda window: id(window[0])):
        span, grid, _ = next(its)
        own = grid.back(probability[first : first + span.n_slices, ..., None])[..., 0]
        _, mask = store.read(span.case, range(span.start, span.stop))
        yield case_result(span, mask > 0, own >= THRESHOLD)
        first += span.n_slices


def train(network: str, minutes: float, seed: int, peers: Path, windows: dict[str, WindowSet], out: Path) -> np.ndarray:
    """Probabilities `(n, size, size)` of the validation slices, after training in the peers' interpreter."""
    with TemporaryDirectory() as folder:
        images, masks = slices_of(windows["train"])
        np.save(f"{folder}/train_images.npy", images)
        np.save(f"{folder}/train_masks.npy", masks)
        np.save(f"{folder}/val_images.npy", slices_of(windows["val"])[0])
        options = {"minutes": minutes, "seed": seed, "cores": usable_cores(), "folder": folder, "out": out}
        asked = [text for key, value in options.items() for text in (f"--{key}", str(value))]
        subprocess.run([str(peers), str(TRAINER), network, *asked], check=True)
    return np.load(out / "probability.npy")


def difference(ours: Path, theirs: Path) -> dict[str, object]:
    """Ours minus theirs, see `toolkit.evaluation.comparison.paired_test`.

    Args:
        ours: per_image.csv of our run.
        theirs: that of a peer.

    Raises:
        SystemExit: they were judged on different patients.
    """
    mine, other = (patient_dice(picture_scores(read_per_image(file))) for file in (ours, theirs))
    if mine.keys() != other.keys():
        raise SystemExit(f"{ours} and {theirs} are of different patients")
    test = paired_test(mine, other)
    return {
        "ours_minus_theirs": test["difference"],
        "confidence_95": [test["difference_low"], test["difference_high"]],
        "n_patient_groups": len(mine),
    }


def main() -> None:
    """Train, judge, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--network", required=True, choices=NETWORKS)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--peers", type=Path, default=Path(".venv-peers/bin/python"))
    parser.add_argument("--against", type=Path, help="run of ours, of the same fold")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    manifest, store = Manifest(arguments.seed), Store(arguments.store)
    if len(store.index.modalities) != 1:
        sys.exit(f"{store.path}: has {len(store.index.modalities)} modalities; the peers are given one")
    recipe: Recipe = load_recipe(
        "figshare",
        ["data.split=folds", f"data.fold={arguments.fold}", "data.window={slices: 1, halo: 0}"],
    )
    windows = {part: WindowSet(store, part, recipe, augment=False) for part in ("train", "val")}
    arguments.out.mkdir(parents=True, exist_ok=True)
    options = (arguments.network, arguments.minutes, arguments.seed, arguments.peers)
    metrics = evaluate_cases(results(store, windows["val"], train(*options, windows, arguments.out)), arguments.out) | {
        "network": arguments.network,
        "split": f"folds, fold {arguments.fold}",
        "minutes": arguments.minutes,
    }
    write_json(arguments.out / "metrics.json", metrics)
    write_json(arguments.out / "manifest.json", manifest.content(store=store.index.checksums_sha256))
    print(f"{arguments.network}, fold {arguments.fold}: Dice {metrics['per_image_mean']['dice']:.3f}")
    if arguments.against:
        compared = difference(arguments.against / "per_image.csv", arguments.out / "per_image.csv")
        write_json(arguments.out / "difference.json", compared)
        print(compared)


if __name__ == "__main__":
    main()
