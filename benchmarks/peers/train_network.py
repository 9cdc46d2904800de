"""Trains a network of MONAI or nnU-Net on slices, in the way of its library, until its minutes are spent.

    python train_network.py NETWORK --folder DIR --minutes M --cores C --seed S --out OUT

DIR holds train_images.npy, val_images.npy `(n, height, width)` float32 and train_masks.npy uint8. Writes
OUT/probability.npy `(n, height, width)` float32 of the validation slices, and OUT/training.json. Batches are of 16
slices. Weights start from random: MONAI downloads ImageNet's on first use, which a machine without the internet
can't.

- `flexible_unet`, `attention_unet`: MONAI's networks, augmentation (flips, affine, elastic, noise, contrast, bias
  field), DiceFocalLoss; AdamW at 1e-3 with a cosine, as in ours.
- `nnunet_2d`: nnU-Net's PlainConvUNet as it plans one for such slices, with its own augmentation, z-scores, Dice +
  cross-entropy with deep supervision, SGD (0.01, Nesterov momentum 0.99, polynomial decay), and mirrored copies
  averaged at prediction.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

BATCH = 16


class Peer(NamedTuple):
    """A network with all that its library has around it.

    Args:
        network: `(n, 1, height, width)` to logits, or to a list of them.
        augment: picture and mask `(1, height, width)` to changed ones.
        loss: of what the network gives and masks.
        optimizer: its learning rate is multiplied by `schedule`.
        schedule: share of the time that is spent, to the factor of the learning rate.
        normalise: pictures `(n, 1, height, width)` to what the network is to see.
        predict: normalised pictures to probabilities `(n, height, width)`.
    """

    network: torch.nn.Module
    augment: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    loss: Callable[[Any, torch.Tensor], torch.Tensor]
    optimizer: torch.optim.Optimizer
    schedule: Callable[[float], float]
    normalise: Callable[[torch.Tensor], torch.Tensor]
    predict: Callable[[torch.Tensor], torch.Tensor]


def monai_peer(name: str, seed: int) -> Peer:
    """One of MONAI's networks with its transforms and its loss."""
    from monai import transforms
    from monai.losses import DiceFocalLoss
    from monai.networks.nets import AttentionUnet, FlexibleUNet

    network: torch.nn.Module
    if name == "flexible_unet":
        network = FlexibleUNet(in_channels=1, out_channels=1, backbone="efficientnet-b0", spatial_dims=2)
    else:
        network = AttentionUnet(2, 1, 1, channels=(24, 48, 96, 192, 384), strides=(2, 2, 2, 2), dropout=0.1)
    both = ["image", "mask"]
    change = transforms.Compose(
        [
            transforms.RandFlipd(both, prob=0.5, spatial_axis=1),
            transforms.RandAffined(
                both,
                prob=0.9,
                rotate_range=math.radians(20),
                scale_range=0.15,
                translate_range=10,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            transforms.Rand2DElasticd(
                both,
                spacing=(30, 30),
                magnitude_range=(0, 2),
                prob=0.3,
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            transforms.RandGaussianNoised("image", prob=0.5, std=0.03),
            transforms.RandAdjustContrastd("image", prob=0.5, gamma=(0.7, 1.3)),
            transforms.RandBiasFieldd("image", prob=0.3, coeff_range=(0, 0.1)),
        ]
    )
    change.set_random_state(seed)

    def augment(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        changed = change({"image": image, "mask": mask})
        return torch.as_tensor(changed["image"]), torch.as_tensor(changed["mask"])

    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-4)
    loss = DiceFocalLoss(sigmoid=True, lambda_focal=5.0)
    cosine = lambda share: 0.01 + 0.99 * (1 + math.cos(math.pi * share)) / 2  # noqa: E731
    return Peer(network, augment, loss, optimizer, cosine, lambda x: x, lambda x: network(x)[:, 0].sigmoid())


def nnunet_peer(size: int) -> Peer:
    """nnU-Net's network for slices of a size, with what its trainer has around it."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    _, strides, kernels, _, _ = get_pool_and_conv_props((1.0, 1.0), (size, size), 4, 999999)
    stages = len(strides)
    network = PlainConvUNet(
        1,
        stages,
        [min(512, 32 * 2**stage) for stage in range(stages)],
        torch.nn.Conv2d,
        kernels,
        strides,
        [2] * stages,
        2,
        [2] * (stages - 1),
        conv_bias=True,
        norm_op=torch.nn.InstanceNorm2d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=torch.nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
        deep_supervision=True,
    )
    network.apply(network.initialize)
    weights = np.array([1 / 2**level for level in range(stages - 1)])
    weights[-1] = 0
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    supervised = DeepSupervisionWrapper(
        DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss), list(weights / weights.sum())
    )
    change = nnUNetTrainer.get_training_transforms((size, size), (-math.pi, math.pi), None, (0, 1), False)

    def augment(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        changed = change(image=image, segmentation=mask.to(torch.int16))
        return changed["image"], changed["segmentation"].float()

    def loss(levels: list[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
        masks = [torch.nn.functional.interpolate(mask, level.shape[2:], mode="nearest") for level in levels]
        return supervised(levels, masks)

    def z_scores(images: torch.Tensor) -> torch.Tensor:
        mean, deviation = (f(images, (1, 2, 3), keepdim=True) for f in (torch.mean, torch.std))
        return (images - mean) / torch.clamp(deviation, min=1e-8)

    def predict(images: torch.Tensor) -> torch.Tensor:
        mirrored = [(), (2,), (3,), (2, 3)]
        told = [network(images.flip(axes) if axes else images)[0].softmax(1) for axes in mirrored]
        back = [answer.flip(axes) if axes else answer for answer, axes in zip(told, mirrored, strict=True)]
        return torch.stack(back).mean(0)[:, 1]

    optimizer = torch.optim.SGD(network.parameters(), 1e-2, momentum=0.99, nesterov=True, weight_decay=3e-5)
    return Peer(network, augment, loss, optimizer, lambda share: (1 - share) ** 0.9, z_scores, predict)


def batches(
    peer: Peer, images: torch.Tensor, masks: torch.Tensor, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Augmented batches without end, every slice once an epoch."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(images))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            pairs = [peer.augment(images[i].clone(), masks[i].clone()) for i in order[first : first + BATCH]]
            yield torch.stack([a for a, _ in pairs]), torch.stack([b for _, b in pairs])


def train(peer: Peer, images: torch.Tensor, masks: torch.Tensor, cpu_seconds: float, seed: int) -> int:
    """Train until so many seconds of CPU time are spent; gives the number of steps."""
    start = time.process_time()
    fastest = [group["lr"] for group in peer.optimizer.param_groups]
    peer.network.train()
    for step, (batch, truth) in enumerate(batches(peer, images, masks, seed)):
        share = (time.process_time() - start) / cpu_seconds
        if share >= 1:
            return step
        for group, rate in zip(peer.optimizer.param_groups, fastest, strict=True):
            group["lr"] = rate * peer.schedule(share)
        peer.optimizer.zero_grad()
        value = peer.loss(peer.network(batch), truth)
        value.backward()
        torch.nn.utils.clip_grad_norm_(peer.network.parameters(), 12)
        peer.optimizer.step()
        if step % 50 == 0:
            print(f"step {step}  loss {float(value):.4f}  {100 * share:.0f} %", flush=True)
    raise AssertionError("batches do not end")


def main() -> None:
    """Train, predict, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=("flexible_unet", "attention_unet", "nnunet_2d"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--cores", type=float, required=True, help="that may be used; minutes are CPU time over these")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(max(1, round(arguments.cores)))
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)
    read = {name: np.load(arguments.folder / f"{name}.npy") for name in ("train_images", "train_masks", "val_images")}
    size = read["train_images"].shape[1]
    peer = nnunet_peer(size) if arguments.network == "nnunet_2d" else monai_peer(arguments.network, arguments.seed)
    tensors = {name: torch.from_numpy(values)[:, None].float() for name, values in read.items()}
    images = peer.normalise(tensors["train_images"])
    if len(images) < BATCH:
        raise SystemExit(f"{arguments.folder}: has {len(images)} slices to learn from, a batch has {BATCH}")
    cpu_seconds = 60 * arguments.minutes * arguments.cores
    steps = train(peer, images, tensors["train_masks"], cpu_seconds, arguments.seed)
    peer.network.eval()
    with torch.inference_mode():
        parts = [peer.predict(part) for part in peer.normalise(tensors["val_images"]).split(BATCH)]
    np.save(arguments.out / "probability.npy", torch.cat(parts).numpy().astype(np.float32))
    facts = {"steps": steps, "epochs": steps * BATCH / len(images), "torch": torch.__version__}
    facts["parameters"] = sum(weights.numel() for weights in peer.network.parameters())
    (arguments.out / "training.json").write_text(json.dumps(facts, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
