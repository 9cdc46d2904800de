"""Several TFLite files as one: each signature says what it said, and equal weights are stored once."""

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from toolkit.export.joined import joined

WEIGHTS = np.random.default_rng(1).normal(size=(64, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files with the signatures `bounded`, `negative` and `halves`, the last one with weights in float16."""
    made = {}
    for name, function, supported in (
        ("bounded", lambda x, w: tf.tanh(tf.matmul(x, w)), None),
        ("negative", lambda x, w: -tf.nn.relu(tf.matmul(x, w)), None),
        ("halves", lambda x, w: tf.matmul(x, w), [tf.float16]),
    ):
        folder = tmp_path_factory.mktemp(name)
        module = tf.Module()
        module.weights = tf.Variable(WEIGHTS)

        @tf.function(autograph=False, input_signature=[tf.TensorSpec((1, 64), tf.float32, name="x")])
        def call(x, function=function, module=module):
            return {"y": function(x, module.weights)}

        tf.saved_model.save(module, str(folder), signatures={name: call})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=[name])
        if supported:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = supported
        made[name] = converter.convert()
    return made


def answers(content, name):
    run = Interpreter(model_content=content).get_signature_runner(name)
    return run(x=np.linspace(-1, 1, 64, dtype=np.float32)[None])["y"]


def test_each_signature_says_what_it_said_alone(files):
    whole = joined(list(files.values()))
    assert set(Interpreter(model_content=whole).get_signature_list()) == set(files)
    for name, content in files.items():
        np.testing.assert_array_equal(answers(whole, name), answers(content, name))
    # And that is what NumPy says.
    x = np.linspace(-1, 1, 64, dtype=np.float32)[None]
    np.testing.assert_allclose(answers(whole, "bounded"), np.tanh(x @ WEIGHTS), rtol=1e-4, atol=1e-4)


def test_a_reader_who_knows_no_signatures_gets_the_first(files):
    interpreter = Interpreter(model_content=joined([files["negative"], files["bounded"]]))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], np.ones((1, 64), np.float32))
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, -np.maximum(WEIGHTS.sum(axis=0), 0)[None], rtol=1e-4, atol=1e-4)


def test_equal_weights_are_stored_once(files):
    both = joined([files["bounded"], files["negative"]])
    weights = WEIGHTS.nbytes
    assert len(files["bounded"]) > weights
    assert len(both) < len(files["bounded"]) + len(files["negative"]) - 0.9 * weights


def test_one_file_stays_what_it_is(files):
    assert answers(joined([files["bounded"]]), "bounded").tobytes() == answers(files["bounded"], "bounded").tobytes()
