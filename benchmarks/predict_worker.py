"""Our side of predict_speed.py: `python predict_worker.py network|whole MODEL DATA`.

`whole` is `Predictor.predict` on a case. `network` is the graph of a model without an enhancer, asked about one batch
that was normalised before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker import Calls, serve


def load(what: str, model: Path, folder: Path) -> tuple[Calls, dict[str, Any]]:
    """Calls on what lies in a folder, and facts; see `worker.serve`."""
    import numpy as np

    from toolkit import __version__

    calls: Calls
    if what == "network":
        batch, graph = np.load(folder / "batch.npy")[None], _graph(model)
        calls = {"batch": lambda: graph(batch)}
    else:
        from toolkit.inference.predictor import Predictor

        predictor = Predictor(model)
        limits = np.load(folder / "value_range.npy")
        cases = {path.stem: np.load(path) for path in sorted(folder.glob("case_*.npy"))}
        calls = {name: lambda images=images: predictor.predict(images, limits) for name, images in cases.items()}
    return calls, {"toolkit": __version__}


def _graph(model: Path) -> Callable[[Any], object]:
    """A model's graph, from `(1, S, size, size, modalities)` to probabilities."""
    import numpy as np

    if model.suffix == ".keras":
        from toolkit.models.model_file import load_model

        network, _ = load_model(model)
        return lambda windows: network.predict_on_batch({"slices": windows})["probability"]
    from ai_edge_litert.interpreter import Interpreter

    from toolkit.cores import usable_cores

    interpreter = Interpreter(model_path=str(model), num_threads=max(1, int(usable_cores())))
    run = interpreter.get_signature_runner("serving_default")
    as_they_are = np.tile(np.array((0, 1), np.float32), (1, run.get_input_details()["slices"]["shape"][-1], 1))
    return lambda windows: run(slices=windows, value_range=as_they_are)["probability"]


if __name__ == "__main__":
    serve(lambda: load(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
