"""MONAI's side of predict_speed.py: `python monai_worker.py network|whole DATA`.

`whole` does to a case what has to be done around any network: normalise by the range of the case, go through it in
batches, probabilities of all slices in one array.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from worker import Calls, serve


def load(what: str, folder: Path) -> tuple[Calls, dict[str, Any]]:
    """Calls on what lies in a folder, and facts; see `worker.serve`."""
    import monai
    import numpy as np
    import torch
    from flexible_unet import BATCH, prepared

    network = prepared(**json.loads((folder / "given.json").read_text(encoding="utf-8")))

    @torch.inference_mode()
    def probability(pictures: np.ndarray) -> np.ndarray:
        """Of `(n, height, width, modalities)`, in the same order of axes."""
        logits = network(torch.from_numpy(pictures).permute(0, 3, 1, 2))
        return torch.sigmoid(logits).permute(0, 2, 3, 1).numpy()

    def whole_case(images: np.ndarray, value_range: np.ndarray) -> np.ndarray:
        low, high = value_range.T
        pictures = np.clip((images.astype(np.float32) - low) / (high - low), 0, 1.5)
        return np.concatenate([probability(pictures[at : at + BATCH]) for at in range(0, len(pictures), BATCH)])

    calls: Calls
    if what == "network":
        batch = np.load(folder / "batch.npy")
        calls = {"batch": lambda: probability(batch)}
    else:
        limits = np.load(folder / "value_range.npy")
        cases = {path.stem: np.load(path) for path in sorted(folder.glob("case_*.npy"))}
        calls = {name: lambda images=images: whole_case(images, limits) for name, images in cases.items()}
    return calls, {"torch": torch.__version__, "monai": monai.__version__}


if __name__ == "__main__":
    serve(lambda: load(sys.argv[1], Path(sys.argv[2])))
