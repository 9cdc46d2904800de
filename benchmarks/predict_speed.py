"""Prediction beside MONAI's FlexibleUNet (efficientnet-b0) on PyTorch, in turns, in one run.

    python benchmarks/predict_speed.py RUN --data STORE --peers PYTHON --out DIR [--rounds 15] [--command-rounds 5]

RUN is a model of one modality and one region, STORE the one it was trained on (int8 is calibrated on it, Dice compared
on its validation patients, whose slices are the pictures), PYTHON that of an environment with
benchmarks/peers/requirements.txt.

Three things are measured, of the same pictures at the model's size, with as many threads as there are cores:
the network alone, a batch of 8 slices (ours: that of RUN without its enhancer); the whole model on a case (ours:
enhancer and network by the halo rule, to the probability of every slice; MONAI: normalised and pushed through in
batches of 8); and whole commands, from shell to exit (`bts-predict` with measures, overlays and report; MONAI: masks
alone, see peers/monai_predict.py). MONAI runs in the fastest of the ways in peers/flexible_unet.py. Whoever takes part
is a process of its own, loaded and warm, commands aside. Each round asks all of them in another order; a figure is the
median over rounds, a ratio that of times in the same round with a 95 % interval (bootstrap over rounds).

Writes predict_speed.json and predict_speed.md into DIR. Leave the machine alone meanwhile: about 20 minutes on two
cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import nibabel as nib
import numpy as np
from processes import cost
from ratios import ratio
from worker import Worker

from toolkit.config import check_recipe
from toolkit.data.grid import resize_planes
from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.store import Store
from toolkit.errors import ModelError
from toolkit.export.tflite import Precision
from toolkit.files import atomic_path, write_json
from toolkit.inference.predictor import find_model
from toolkit.manifest import Manifest
from toolkit.models.model_file import ModelInfo, read_info, save_model
from toolkit.workflows.export import Target, export

HERE = Path(__file__).parent
SEED = 1
BATCH = 8
CASES = (16, 155)
PICTURES = (1, 16)
VOLUME = (155, 240, 240)
WARM_UP = 3
PAUSE_S = 0.02  # threads of who was asked before still spin for a moment
MONAI, KERAS = "MONAI", "Keras"
NETWORK, WHOLE, COMMAND = "network alone", "whole model", "whole command"
PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "int8")
# Times MONAI's speed, at least.
WANTED = {(NETWORK, "TFLite float32"): 1.5}
WANTED |= {
    (f"{WHOLE}, {n} slices", f"TFLite {p}"): least for n in CASES for p, least in (("float32", 1.0), ("int8", 1.5))
}
Call = Callable[[], tuple[float, float]]


def exported(
    model: Path, store: Path, folder: Path, precisions: tuple[Precision, ...]
) -> tuple[dict[str, Path], dict[str, Any]]:
    """A model in Keras and in every TFLite precision that passes, and the export's report by format."""
    targets = [Target("tflite", precision) for precision in precisions]
    try:
        report = export(model, targets, folder, store, name="model")
    except ModelError as error:  # what misses its tolerance is not written; the others are
        print(error)
        report = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    files = {f"TFLite {target.precision}": target.file_name("model") for target in targets}
    written = {name: folder / file for name, file in files.items() if (folder / file).exists()}
    return {KERAS: model, **written}, {name: report["exports"][file] for name, file in files.items()}


def without_enhancer(model: Path, info: ModelInfo, path: Path) -> Path:
    """The network of a model as a model of its own, for a batch of lone slices."""
    from toolkit.export.float32_model import float32_model
    from toolkit.models.segmenter import build_segmenter

    whole, _ = float32_model(model)
    values = info.recipe.model_dump(mode="json")
    values["data"]["window"] = {"slices": BATCH, "halo": 0}
    values["model"] |= {"encoder_weights": "none", "enhancer": {"kind": "none"}}
    values["loss"]["correction"] = 0.0
    recipe = check_recipe(values, str(model))
    network = build_segmenter(recipe, len(info.modalities))
    for layer in network.layers:
        if layer.weights:
            layer.set_weights(whole.get_layer(layer.name).get_weights())
    save_model(network, path, info.model_copy(update={"recipe": recipe}))
    return path


def slices_of(store: Store, info: ModelInfo) -> Iterator[np.ndarray]:
    """Slices `(height, width)` of validation patients, from the first again when all have been given."""
    spans = store.spans_of(info.recipe, "val")
    for turn in count():
        span = spans[turn % len(spans)]
        images, _ = store.read(span.case, range(span.start, span.stop))
        yield from images[..., 0]


def write_inputs(folder: Path, store: Store, info: ModelInfo) -> None:
    """What both sides are asked about: arrays for workers, files for commands."""
    size = info.recipe.data.image_size
    slices = [one for one, _ in zip(slices_of(store, info), range(VOLUME[0]), strict=False)]
    images = np.concatenate([resize_planes(one[None, ..., None], size, size) for one in slices])
    images = images.round().astype(np.int16)
    limits = intensity_range(images)
    np.save(folder / "value_range.npy", limits)
    np.save(folder / "batch.npy", normalise(images[:BATCH], limits))
    for n_slices in CASES:
        np.save(folder / f"case_{n_slices}.npy", images[:n_slices])
    for n_pictures in PICTURES:
        (folder / f"pictures_{n_pictures}").mkdir()
        for index, one in enumerate(slices[:n_pictures]):
            depth = np.uint8 if one.max() < 256 else np.uint16
            cv2.imwrite(str(folder / f"pictures_{n_pictures}" / f"{index:03d}.png"), one.astype(depth))
    volume = np.concatenate([resize_planes(one[None, ..., None], *VOLUME[1:]) for one in slices])[..., 0]
    nib.save(nib.Nifti1Image(np.moveaxis(volume.round().astype(np.int16), 0, 2), np.eye(4)), folder / "volume.nii.gz")


def in_turns(calls: Mapping[str, Call], rounds: int, warm_up: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Ask all, each round in another order.

    Args:
        calls: each does its work once and gives seconds and peak memory in MB.
        rounds: that count.
        warm_up: rounds before, that don't.
        rng: decides the order.

    Returns:
        Name to `(rounds, 2)`, seconds and peak memory.
    """
    results: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(rounds + warm_up):
        for name in rng.permutation(list(calls)).tolist():
            time.sleep(PAUSE_S)
            result = calls[name]()
            if turn >= warm_up:
                results[name].append(result)
    return {name: np.array(values) for name, values in results.items()}


def rows(what: str, n_slices: int, results: Mapping[str, np.ndarray]) -> Iterator[dict[str, Any]]:
    """A row for each of those who were asked the same."""
    for name, measured in results.items():
        seconds, peak_mb = measured.T
        times, low, high = ratio(results[MONAI][:, 0], seconds)
        yield {
            "what": what,
            "who": name,
            "slices_per_second": round(n_slices / float(np.median(seconds)), 1),
            "seconds": round(float(np.median(seconds)), 4),
            "times_monai": round(times, 3),
            "times_monai_low": round(low, 3),
            "times_monai_high": round(high, 3),
            "wanted": WANTED.get((what, name)),
            "peak_mb": round(float(peak_mb.max())),
            "all_seconds": seconds.round(4),
        }


def worker_rows(
    kind: str, models: Mapping[str, Path], peers: Path, folder: Path, rounds: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Rows of what workers are asked, `network` or `whole`."""
    commands: dict[str, list[str | Path]] = {
        name: [sys.executable, HERE / "predict_worker.py", kind, model, folder] for name, model in models.items()
    }
    commands[MONAI] = [peers, HERE / "peers" / "monai_worker.py", kind, folder]
    asked = {NETWORK: ("batch", BATCH)}
    if kind == "whole":
        asked = {f"{WHOLE}, {n} slices": (f"case_{n}", n) for n in CASES}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(closing(Worker(command))) for name, command in commands.items()}
        for what, (call, n_slices) in asked.items():

            def ask(worker: Worker, call: str = call) -> tuple[float, float]:
                seconds = worker.ask(call)
                return seconds, worker.peak_mb

            calls = {name: lambda worker=worker, ask=ask: ask(worker) for name, worker in workers.items()}
            yield from rows(what, n_slices, in_turns(calls, rounds, WARM_UP, rng))


def command_rows(
    models: Mapping[str, Path], peers: Path, folder: Path, rounds: int, size: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Rows of whole commands."""
    weights = folder / "weights.pt"
    peer = [peers, HERE / "peers" / "monai_predict.py"]
    subprocess.run([*peer, "--save", weights], check=True)
    inputs = {f"{n} picture{'s' if n > 1 else ''}": (folder / f"pictures_{n}", n) for n in PICTURES}
    inputs[f"volume of {'x'.join(map(str, VOLUME))}"] = (folder / "volume.nii.gz", VOLUME[0])
    for title, (path, n_slices) in inputs.items():

        def run(name: str, path: Path = path) -> tuple[float, float]:
            with TemporaryDirectory() as out:
                masks = Path(out) / "out"
                command: list[str | Path] = [*peer, path, weights, masks, str(size)]
                if name != MONAI:
                    command = [sys.executable, "-m", "cli.predict", path, "--model", models[name], "--out", masks]
                spent = cost(command)
            return spent.seconds, spent.peak_mb

        calls = {name: lambda name=name, run=run: run(name) for name in (MONAI, *models)}
        yield from rows(f"{COMMAND}, {title}", n_slices, in_turns(calls, rounds, 1, rng))


def markdown(result: Mapping[str, Any]) -> Iterator[str]:
    """Both tables as a page shows them."""
    yield "| what | who | slices a second | seconds | speed against MONAI | wanted | peak memory, MB |"
    yield "|---|---|---|---|---|---|---|"
    for row in result["speed"]:
        speed = f"{row['times_monai']:.2f} ({row['times_monai_low']:.2f} to {row['times_monai_high']:.2f})"
        wanted = f"≥ {row['wanted']}" if row["wanted"] else ""
        cells = (
            row["what"],
            row["who"],
            row["slices_per_second"],
            f"{row['seconds']:.2f}",
            speed,
            wanted,
            row["peak_mb"],
        )
        yield f"| {' | '.join(map(str, cells))} |"
    yield "\n| format | MB | Dice between its masks and Keras' | change of Dice | largest difference of probability |"
    yield "|---|---|---|---|---|"
    for name, row in result["formats"].items():
        written = f"{row['bytes'] / 1e6:.2f}" if row["passed"] else "not written"
        difference = f"{row['max_difference']:.1e}"
        yield f"| {name} | {written} | {row['dice_between']:.4f} | {row['dice_change']:+.4f} | {difference} |"


def main() -> None:
    """Export, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--peers", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--command-rounds", type=int, default=5)
    arguments = parser.parse_args()
    manifest, rng = Manifest(SEED), np.random.default_rng(SEED)
    peers = arguments.peers.absolute()  # not resolved: a link to Python is what an environment is known by
    model = find_model(arguments.run)
    info = read_info(model)
    size = info.recipe.data.image_size
    speed: list[dict[str, Any]] = []

    def tell(measured: Iterator[dict[str, Any]]) -> None:
        for row in measured:
            print(*(value for key, value in row.items() if key != "all_seconds"), sep="  ", flush=True)
            speed.append(row)

    with TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder, Store(arguments.data), info)
        whole, formats = exported(model, arguments.data, folder / "whole", PRECISIONS)
        alone = without_enhancer(model, info, folder / "network.keras")
        networks, _ = exported(alone, arguments.data, folder / "network", ("float32", "int8"))
        given = {"modalities": 1, "regions": len(info.recipe.model.regions), "size": size}
        choose = [peers, HERE / "peers" / "flexible_unet.py", *map(str, given.values())]
        variant = subprocess.run(choose, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        write_json(folder / "given.json", {"variant": variant, **given})
        tell(worker_rows("network", networks, peers, folder, arguments.rounds, rng))
        tell(worker_rows("whole", whole, peers, folder, arguments.rounds, rng))
        tell(command_rows(whole, peers, folder, arguments.command_rounds, size, rng))
    result = {
        **manifest.content(cores=len(os.sched_getaffinity(0)), monai_variant=variant, size=size),
        "speed": speed,
        "formats": formats,
    }
    write_json(arguments.out / "predict_speed.json", result)
    text = "\n".join(markdown(result)) + "\n"
    with atomic_path(arguments.out / "predict_speed.md") as partial:
        partial.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
