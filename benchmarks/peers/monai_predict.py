"""The least a person writes around MONAI to mark tumours: scans in, masks of their size out.

    python monai_predict.py INPUT WEIGHTS OUT SIZE

INPUT is a folder of PNG files or a NIfTI volume of one modality, WEIGHTS what `--save WEIGHTS` of this file wrote. No
overlays, measures, report or checks of what comes in.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import torch
from flexible_unet import BATCH, flexible_unet


def main(source: Path, weights: Path, out: Path, size: int) -> None:
    """Read, predict, write."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network = flexible_unet(1, 1)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network = network.to(memory_format=torch.channels_last)
    out.mkdir(parents=True)
    if source.is_dir():
        mark_pictures(network, sorted(source.glob("*.png")), out, size)
    else:
        mark_volume(network, source, out, size)


def mark_pictures(network: torch.nn.Module, files: list[Path], out: Path, size: int) -> None:
    """Each is a scan of its own."""
    pictures = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]
    asked = np.stack([normalised(shrunk(picture, size)) for picture in pictures])
    for file, picture, mask in zip(files, pictures, probabilities(network, asked), strict=True):
        cv2.imwrite(str(out / f"{file.stem}_mask.png"), in_full_size(mask, picture.shape[:2]) * np.uint8(255))


def mark_volume(network: torch.nn.Module, file: Path, out: Path, size: int) -> None:
    """Its slices are those along the third axis."""
    image = nib.load(file)
    slices = np.moveaxis(np.asarray(image.dataobj), 2, 0)
    asked = normalised(np.stack([shrunk(one, size) for one in slices]))
    masks = [in_full_size(mask, slices.shape[1:]) for mask in probabilities(network, asked)]
    nib.save(nib.Nifti1Image(np.stack(masks, axis=2), image.affine), out / "mask.nii.gz")


def shrunk(picture: np.ndarray, size: int) -> np.ndarray:
    """A picture at the network's size."""
    return cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)


def normalised(images: np.ndarray) -> np.ndarray:
    """By the percentiles of a scan, as MONAI's ScaleIntensityRangePercentiles does."""
    low, high = np.percentile(images, (1, 99))
    return ((images - np.float32(low)) / np.float32(max(high - low, 1))).clip(0, 1.5).astype(np.float32)


@torch.inference_mode()
def probabilities(network: torch.nn.Module, pictures: np.ndarray) -> np.ndarray:
    """Probabilities `(n, size, size)` of normalised pictures of the same shape."""
    batches = torch.from_numpy(pictures)[:, None].split(BATCH)
    return torch.cat([torch.sigmoid(network(batch)) for batch in batches])[:, 0].numpy()


def in_full_size(probability: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The mask of a slice, in its own size, uint8."""
    enlarged = cv2.resize(probability, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return (enlarged >= 0.5).astype(np.uint8)


if __name__ == "__main__":
    if sys.argv[1] == "--save":
        torch.save(flexible_unet(1, 1).state_dict(), sys.argv[2])
    else:
        main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
