"""MONAI's FlexibleUNet behind efficientnet-b0, made ready for a CPU in the way that is fastest here, in float32.

Weights are as drawn: speed does not depend on what was learned. As a program it tells which way is fastest:
`python flexible_unet.py MODALITIES REGIONS SIZE`.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch
from monai.networks.nets import FlexibleUNet

BATCH = 8
ROUNDS, WARM_UP = 15, 3
SAME = 1e-4  # largest difference of a logit that float32 explains
Network = Callable[[torch.Tensor], torch.Tensor]


def flexible_unet(modalities: int, regions: int) -> torch.nn.Module:
    """The network in evaluation mode, the same weights each time."""
    torch.manual_seed(1)
    return FlexibleUNet(
        in_channels=modalities, out_channels=regions, backbone="efficientnet-b0", pretrained=False, spatial_dims=2
    ).eval()


def channels_last(network: torch.nn.Module, _: torch.Tensor) -> Network:
    """Memory in the order of NHWC, as oneDNN likes it."""
    return network.to(memory_format=torch.channels_last)


def frozen(network: torch.nn.Module, example: torch.Tensor) -> Network:
    """Traced, with weights as constants and batch norms folded into convolutions."""
    # Its paths depend on sizes alone, which do not change.
    warnings.simplefilter("ignore", torch.jit.TracerWarning)
    traced = torch.jit.trace(network.to(memory_format=torch.channels_last), example, check_trace=False)
    return torch.jit.freeze(traced)


def optimised(network: torch.nn.Module, example: torch.Tensor) -> Network:
    """As frozen, and fused by oneDNN where PyTorch knows how."""
    return torch.jit.optimize_for_inference(frozen(network, example))


VARIANTS: dict[str, Callable[[torch.nn.Module, torch.Tensor], Network]] = {
    "eager, channels last": channels_last,
    "frozen trace, channels last": frozen,
    "frozen trace, channels last, optimize_for_inference": optimised,
}


def prepared(variant: str, modalities: int, regions: int, size: int) -> Network:
    """The network, ready to be asked about batches.

    Args:
        variant: a name in `VARIANTS`.
        modalities: channels of a picture.
        regions: channels of the logits.
        size: height and width of a picture.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    example = torch.rand(BATCH, modalities, size, size).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        return VARIANTS[variant](flexible_unet(modalities, regions), example)


@torch.inference_mode()
def fastest(modalities: int, regions: int, size: int) -> str:
    """Name of the fastest variant, measured in turns; see `prepared`."""
    example = torch.rand(BATCH, modalities, size, size).to(memory_format=torch.channels_last)
    expected = flexible_unet(modalities, regions)(example)
    networks = {name: prepared(name, modalities, regions, size) for name in VARIANTS}
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for turn in range(ROUNDS + WARM_UP):
        for name, network in networks.items():
            start = time.perf_counter()
            logits = network(example)
            if turn >= WARM_UP:
                seconds[name].append(time.perf_counter() - start)
            assert float((logits - expected).abs().max()) < SAME, name
    return min(seconds, key=lambda name: statistics.median(seconds[name]))


if __name__ == "__main__":
    print(fastest(*map(int, sys.argv[1:])))
