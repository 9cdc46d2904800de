"""A SavedModel in a process of its own that has TensorFlow only."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from toolkit.errors import ModelError
from toolkit.export.parity import Probe
from toolkit.inference.runtimes.runtime import WholeCaseRuntime
from toolkit.inference.runtimes.saved_model import case_inputs
from toolkit.models.model_file import read_info

# Run, never imported: it forbids itself to import this package.
ALONE = Path(__file__).with_name("alone.py")


class SavedModelProcess(WholeCaseRuntime):
    """Answers for cases that are told beforehand, as starting TensorFlow takes longer than most of them.

    Args:
        path: SavedModel folder.
        probes: the cases, all that it will be asked about, in this order.

    Raises:
        ModelError: it can't be run there.
    """

    def __init__(self, path: Path, probes: Sequence[Probe]) -> None:
        self.name, self.info = f"{path}, alone", read_info(path)
        with TemporaryDirectory() as folder:
            inputs, outputs = Path(folder) / "inputs.npz", Path(folder) / "outputs.npz"
            cases = [case_inputs(self, probe.images, probe.value_range, probe.spacing_mm) for probe in probes]
            arrays = {f"{number}/{name}": values for number, case in enumerate(cases) for name, values in case.items()}
            np.savez(inputs, allow_pickle=False, **arrays)
            command = [sys.executable, "-I", str(ALONE), str(path), str(inputs), str(outputs)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                raise ModelError(f"{path}: does not run with TensorFlow alone ({' '.join(last)})")
            with np.load(outputs, allow_pickle=False) as answers:
                self._answers = iter([answers[f"{number}/probability"][0] for number in range(len(probes))])

    def probability(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> np.ndarray:
        """The next answer."""
        return next(self._answers)
