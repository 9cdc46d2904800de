"""Whatever goes wrong with a server is told in one line that names its URL and what to do."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import numpy as np
import pytest

from tests.serving_double.grpc_double import GrpcDouble
from toolkit.data.intensity import intensity_range
from toolkit.errors import ModelError
from toolkit.inference.runtimes.server import ServerRuntime, server_runtime
from toolkit.inference.runtimes.server.channel_grpc import GrpcChannel
from toolkit.inference.runtimes.server.channel_rest import RestChannel


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def one_line(error, url):
    text = str(error.value)
    assert text.startswith(f"{url}: ")
    assert "\n" not in text
    assert len(text) < 500
    return text


def ask(url, images):
    return ServerRuntime(url).probability(images, intensity_range(images), None)


# Nobody there


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_no_server(scheme, free_port, impatient):
    url = f"{scheme}://localhost:{free_port}/tiny"
    began = time.monotonic()
    with pytest.raises(ModelError) as error:
        ServerRuntime(url)
    assert "check host and port" in one_line(error, url)
    assert time.monotonic() - began < 15


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_starts_late_is_found(scheme, free_port, served, make_images):
    from tests.serving_double.rest_double import RestDouble

    kinds, started = {"grpc": GrpcDouble, "http": RestDouble}, []
    later = threading.Timer(1.0, lambda: started.append(kinds[scheme](served, port=free_port)))
    later.start()
    probability = ask(f"{scheme}://localhost:{free_port}/tiny", make_images(3))
    later.join()
    started[0].close()
    assert probability.shape == (3, 9, 7, 2)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_killed_in_the_middle(scheme, double_process, make_images, impatient, monkeypatch):
    process, urls = double_process()
    for channel in (GrpcChannel, RestChannel):
        monkeypatch.setattr(channel, "piece_bytes", 1)
    runtime = ServerRuntime(urls[scheme])
    images = make_images(60_000, height=2, width=2)
    threading.Timer(0.5, process.kill).start()
    with pytest.raises(ModelError) as error:
        runtime.probability(images, intensity_range(images), None)
    text = one_line(error, urls[scheme])
    assert "can't be reached" in text or "the connection failed" in text


def test_a_web_server_that_is_no_tensorflow_serving(make_images):
    class Page(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>It works!</html>")

        def log_message(self, *_):
            pass

    server = HTTPServer(("localhost", 0), Page)
    threading.Thread(target=server.handle_request, daemon=True).start()
    url = f"http://localhost:{server.server_port}/tiny"
    with pytest.raises(ModelError) as error:
        ServerRuntime(url)
    server.server_close()
    assert "not that of a TensorFlow Serving" in one_line(error, url)


# Not the model that was meant


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/tumor", "check the name of the model"),
        ("/tumor/versions/1", "check the name of the model"),
        ("/tiny/versions/7", "no version 7 of model tiny; versions there: 1, 2"),
        ("/tiny/labels/canary", "no label canary of model tiny; versions there: 1, 2"),
        ("/stranger", "its signature serving_default has no probability, slices, value_range; serve a SavedModel"),
        ("/of_one_modality", "takes slices of shape (-1, -1, -1, -1, 2), but says it is for 1 modalities (t1c)"),
    ],
)
def test_another_model_than_was_meant_is_refused_before_a_scan_is_sent(path, told, double, served):
    with pytest.raises(ModelError) as error:
        ServerRuntime(double.base + path)
    assert told in one_line(error, double.base + path)
    assert all(name == "describe" for name, _ in served.predicted)


def test_a_scan_with_other_modalities_is_not_sent(double, served, make_images):
    url = f"{double.base}/tiny"
    with pytest.raises(ModelError) as error:
        ask(url, make_images(3, modalities=1))
    assert "needs 2 modalities (t1c, t2f), the scan has 1" in one_line(error, url)
    assert [name for name, _ in served.predicted] == ["describe"]


@pytest.mark.parametrize("said", [np.array([b"{}"], object), np.array(["a model"]), np.zeros(0)])
def test_a_model_that_does_not_say_what_it_is(said, double, monkeypatch):
    for channel in (GrpcChannel, RestChannel):
        monkeypatch.setattr(channel, "predict", lambda *_: said)
    with pytest.raises(ModelError) as error:
        ServerRuntime(f"{double.base}/tiny")
    assert "export the model again" in one_line(error, f"{double.base}/tiny")


def test_an_answer_of_another_shape(double, make_images, monkeypatch):
    runtime = ServerRuntime(f"{double.base}/tiny")
    for channel in (GrpcChannel, RestChannel):
        monkeypatch.setattr(channel, "predict", lambda *_: np.zeros((1, 3, 9, 7, 1)))
    images = make_images(3)
    with pytest.raises(ModelError) as error:
        runtime.probability(images, intensity_range(images), None)
    text = one_line(error, runtime.name)
    assert "answers with shape (1, 3, 9, 7, 1) instead of (1, 3, 9, 7, 2)" in text


# The server says no


@pytest.mark.parametrize("times", [1, 3])
def test_a_server_that_is_unavailable_is_asked_again(times, double, served, make_images, impatient):
    runtime = ServerRuntime(f"{double.base}/tiny")
    served.predicted.clear()
    served.refuse_next(times, grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full")
    images = make_images(3)
    assert runtime.probability(images, intensity_range(images), None).shape == (3, 9, 7, 2)
    assert len(served.predicted) == times + 1


def test_a_server_that_stays_unavailable_is_given_up(double, served, impatient):
    served.refuse_next(10_000, grpc.StatusCode.UNAVAILABLE, "The batch scheduling queue is full")
    began = time.monotonic()
    with pytest.raises(ModelError) as error:
        ServerRuntime(f"{double.base}/tiny")
    text = one_line(error, f"{double.base}/tiny")
    assert "too busy" in text
    assert "queue is full" in text
    assert time.monotonic() - began < 10
    assert len(served.predicted) > 3


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "has no room for this request"),
        (grpc.StatusCode.INVALID_ARGUMENT, "refuses the request"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "no answer in time"),
        (grpc.StatusCode.UNAUTHENTICATED, "BTS_SERVER_TOKEN"),
        (grpc.StatusCode.INTERNAL, "see its log"),
    ],
)
def test_nothing_else_is_asked_again(code, told, double, served, make_images):
    runtime = ServerRuntime(f"{double.base}/tiny")
    served.predicted.clear()
    served.refuse_next(1, code, "first line\nsecond line")
    images = make_images(3)
    with pytest.raises(ModelError) as error:
        runtime.probability(images, intensity_range(images), None)
    text = one_line(error, runtime.name)
    assert told in text
    assert "first line second line" in text
    assert len(served.predicted) == 1


def test_an_answer_that_comes_too_late(double, served, make_images, monkeypatch):
    monkeypatch.setattr(server_runtime, "PIECE_TIMEOUT_S", 0.3)
    runtime = ServerRuntime(f"{double.base}/tiny")
    served.delay_s = 1.5
    images = make_images(3)
    began = time.monotonic()
    with pytest.raises(ModelError) as error:
        runtime.probability(images, intensity_range(images), None)
    assert "no answer in time" in one_line(error, runtime.name)
    assert time.monotonic() - began < 1.4


def test_a_message_larger_than_the_server_allows(served, make_images):
    double = GrpcDouble(served, max_message_bytes=2000)
    with pytest.raises(ModelError) as error:
        ask(f"{double.base}/tiny", make_images(40))
    double.close()
    assert "larger than is allowed" in one_line(error, f"{double.base}/tiny")
