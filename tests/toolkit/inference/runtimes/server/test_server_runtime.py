"""A server says of a case what the model says, whole or in pieces, by gRPC and by REST."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.serving_double.tiny_model import WINDOW, tiny_answer, tiny_info
from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError
from toolkit.inference.runtimes.server import ServerRuntime
from toolkit.inference.runtimes.server.channel_grpc import GrpcChannel
from toolkit.inference.runtimes.server.channel_rest import RestChannel

LENGTHS = (1, WINDOW - 1, WINDOW, WINDOW + 1, 40)
# One float32 sigmoid and another.
CLOSE = 1e-6


@pytest.fixture
def messages_of(monkeypatch):
    """Makes messages so small that a piece has at most so many slices of 9 x 7 pixels."""

    def limit(n_slices):
        for channel in (GrpcChannel, RestChannel):
            a_slice = channel.slice_bytes(None, 9 * 7, 2, 2)
            monkeypatch.setattr(channel, "piece_bytes", n_slices * a_slice)

    return limit


def slices_sent(served):
    return [shapes["slices"][1] for name, shapes in served.predicted if name == "serving_default"]


@pytest.mark.parametrize("n_slices", LENGTHS)
def test_the_answer_is_that_of_the_model(n_slices, double, served, make_images):
    images = make_images(n_slices)
    runtime = ServerRuntime(f"{double.base}/tiny")
    probability = runtime.probability(images, intensity_range(images), None)
    assert probability.dtype == np.float32
    assert slices_sent(served) == [n_slices]
    np.testing.assert_allclose(probability, tiny_answer(images, intensity_range(images)), atol=CLOSE)


@pytest.mark.parametrize("at_most", [WINDOW, WINDOW + 1, 2 * WINDOW, 17])
@pytest.mark.parametrize("n_slices", LENGTHS)
def test_in_pieces_it_is_the_same(n_slices, at_most, double, served, make_images, messages_of):
    images = make_images(n_slices)
    messages_of(at_most)
    runtime = ServerRuntime(f"{double.base}/tiny")
    probability = runtime.probability(images, intensity_range(images), None)
    sent = slices_sent(served)
    assert max(sent) <= at_most
    assert len(sent) > 1 or n_slices <= at_most
    np.testing.assert_allclose(probability, tiny_answer(images, intensity_range(images)), atol=CLOSE)


def test_pieces_know_the_range_of_the_whole_case(double, make_images, messages_of):
    """Slices get brighter towards the end: the range of a piece would be another."""
    images = make_images(20) // 20 * np.arange(1, 21)[:, None, None, None]
    messages_of(WINDOW)
    probability = ServerRuntime(f"{double.base}/tiny").probability(images, intensity_range(images), None)
    np.testing.assert_allclose(probability, tiny_answer(images, intensity_range(images)), atol=CLOSE)
    first = images[:WINDOW]
    assert np.abs(tiny_answer(first, intensity_range(first)) - probability[:WINDOW]).max() > 0.1


def test_values_need_not_be_whole_numbers(double, make_images):
    images = (make_images(3) / np.float32(7)).astype(np.float32)
    probability = ServerRuntime(f"{double.base}/tiny").probability(images, intensity_range(images), None)
    np.testing.assert_allclose(probability, tiny_answer(images, intensity_range(images)), atol=CLOSE)


def test_the_server_says_what_its_model_was_made_for(double):
    runtime = ServerRuntime(f"{double.base}/tiny")
    assert runtime.info == tiny_info()
    assert runtime.name == f"{double.base}/tiny"


@pytest.mark.parametrize("which", ["/versions/1", "/versions/2", "/labels/stable"])
def test_a_version_may_be_named_by_number_or_label(which, double, make_images):
    images = make_images(2)
    probability = ServerRuntime(f"{double.base}/tiny{which}").probability(images, intensity_range(images), None)
    np.testing.assert_allclose(probability, tiny_answer(images, intensity_range(images)), atol=CLOSE)


# Models that work in mm


def test_a_model_in_mm_gets_the_whole_case_and_its_spacing(double, served, make_images, messages_of):
    images, spacing_mm = make_images(40), (5.0, 0.9, 0.8)
    messages_of(WINDOW)
    probability = ServerRuntime(f"{double.base}/in_mm").probability(images, intensity_range(images), spacing_mm)
    assert slices_sent(served) == [40]
    wanted = tiny_answer(images, intensity_range(images), spacing_mm)
    np.testing.assert_allclose(probability, wanted, atol=CLOSE)


def test_a_model_in_mm_needs_the_spacing(double, make_images):
    images = make_images(3)
    with pytest.raises(ModelError, match="--spacing"):
        ServerRuntime(f"{double.base}/in_mm").probability(images, intensity_range(images), None)


def test_a_case_that_can_not_be_cut_may_be_too_large(double, served, make_images, monkeypatch):
    monkeypatch.setattr(GrpcChannel, "limit_bytes", 10_000)
    monkeypatch.setattr(RestChannel, "limit_bytes", 10_000)
    images = make_images(40)
    runtime = ServerRuntime(f"{double.base}/in_mm")
    with pytest.raises(ModelError, match=r"in_mm: the scan makes a message of \d+ MB, more than 0 MB; give") as error:
        runtime.probability(images, intensity_range(images), (5.0, 0.9, 0.8))
    assert ("grpc address" in str(error.value)) == double.base.startswith("http")
    assert not slices_sent(served)


# What a client needs


def test_rest_needs_neither_tensorflow_nor_grpc(served, make_images):
    from tests.serving_double.rest_double import RestDouble

    double = RestDouble(served)
    script = (
        "import sys, numpy as np\n"
        "sys.modules.update(dict.fromkeys(['tensorflow', 'grpc', 'keras', 'tensorflow_serving']))\n"
        "from toolkit.inference.runtimes.server import ServerRuntime\n"
        f"runtime = ServerRuntime('{double.base}/tiny')\n"
        "print(runtime.probability(np.ones((2, 9, 7, 2)), np.float32([[0, 1]] * 2), None).shape)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    double.close()
    assert done.stdout == "(2, 9, 7, 2)\n", done.stderr


def test_grpc_says_how_to_install_its_stubs(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving.apis", None)
    with pytest.raises(ModelError, match=r"pip install '\.\[serving\]'") as error:
        ServerRuntime("grpc://localhost:1/tiny")
    assert "\n" not in str(error.value)


# Any server: doubles, and a real one where there is one

REAL = os.environ.get("BTS_SERVING_URL")


@pytest.mark.skipif(not REAL, reason="BTS_SERVING_URL is not set to the URL of a model in a real TensorFlow Serving")
def test_a_real_server_is_asked_too(make_images, monkeypatch):
    check_any_server(REAL, make_images, monkeypatch)


def test_a_double_is_asked_the_same(double, make_images, monkeypatch):
    check_any_server(f"{double.base}/tiny", make_images, monkeypatch)


def check_any_server(url, make_images, monkeypatch):
    """What holds for every model and server; sizes are those of the model's window."""
    runtime = ServerRuntime(url)
    data, modalities = runtime.info.recipe.data, len(runtime.info.modalities)
    spacing_mm, size = data.spacing_mm, data.window.slices
    for n_slices in sorted({1, max(size - 1, 1), size, size + 1, 40}):
        images = make_images(n_slices, height=48, width=40, modalities=modalities)
        limits = intensity_range(images)
        whole = runtime.probability(images, limits, spacing_mm)
        assert whole.shape == (n_slices, 48, 40, len(runtime.info.recipe.model.regions))
        assert 0 <= whole.min() <= whole.max() <= 1
        with monkeypatch.context() as smaller:
            for channel in (GrpcChannel, RestChannel):
                smaller.setattr(channel, "piece_bytes", 1)
            in_pieces = runtime.probability(images, limits, spacing_mm)
        np.testing.assert_allclose(in_pieces, whole, atol=1e-4)
    with pytest.raises(ModelError, match=f"needs {modalities} modalities"):
        runtime.probability(make_images(2, modalities=modalities + 1), limits, spacing_mm)
    base = url.split("/versions/")[0].split("/labels/")[0]
    with pytest.raises(ModelError, match="no version 987654 of model"):
        ServerRuntime(f"{base}/versions/987654")
    with pytest.raises(ModelError, match="no label no_such_label of model"):
        ServerRuntime(f"{base}/labels/no_such_label")
    with pytest.raises(ModelError, match="not found there"):
        ServerRuntime(f"{base}_that_nobody_serves")
