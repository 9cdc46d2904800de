"""Run a SavedModel where there is nothing but TensorFlow and NumPy, as another team would.

    python -I alone.py SAVED_MODEL INPUTS.npz OUTPUTS.npz

INPUTS holds the inputs of `serving_default` for each case, as `0/slices`, `0/value_range`, `1/slices` ...; OUTPUTS gets
`0/probability` and so on. Started by `toolkit.export.saved_model_process`; it imports nothing of this package.
"""

import sys

# What is None here can't be imported: this has to work without.
sys.modules["keras"] = sys.modules["toolkit"] = None  # type: ignore[assignment]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402


def main(model: str, inputs: str, outputs: str) -> None:
    """Answer for every case."""
    loaded = tf.saved_model.load(model)
    serve = loaded.signatures["serving_default"]
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(inputs, allow_pickle=False) as given:
        for key in given.files:
            number, _, name = key.partition("/")
            cases.setdefault(number, {})[name] = tf.constant(given[key], tf.float32)
    answers = {f"{number}/probability": serve(**case)["probability"].numpy() for number, case in cases.items()}
    np.savez(outputs, **answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
