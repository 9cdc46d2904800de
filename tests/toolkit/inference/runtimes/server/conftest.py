"""Doubles of TensorFlow Serving with tiny models, for the client's tests."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.serving_double.grpc_double import GrpcDouble
from tests.serving_double.rest_double import RestDouble
from tests.serving_double.served_models import Loaded, ServedModels
from tests.serving_double.tiny_model import save_tiny_model, tiny_info
from toolkit.inference.runtimes.server import retry

REPOSITORY = Path(__file__).parents[5]
PROTOCOLS = {"grpc": GrpcDouble, "http": RestDouble}


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory):
    """SavedModel folders: good ones, and some that no server should be asked with."""
    folder = tmp_path_factory.mktemp("saved_models")
    one_modality = tiny_info().model_copy(update={"modalities": ("t1c",)})
    return {
        "tiny": save_tiny_model(folder / "tiny"),
        "in_mm": save_tiny_model(folder / "in_mm", in_mm=True),
        "of_one_modality": save_tiny_model(folder / "of_one_modality", info=one_modality),
        "stranger": _stranger(folder / "stranger"),
    }


def _stranger(path):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32)])
    def serve(x):
        return {"y": x / 2}

    tf.saved_model.save(tf.Module(), str(path), signatures={"serving_default": serve})
    return path


@pytest.fixture(scope="session")
def loaded_models(saved_models):
    return {name: Loaded(path) for name, path in saved_models.items()}


@pytest.fixture
def served(loaded_models):
    """What the doubles serve: every model in version 1, the tiny one also in version 2, its version 1 being stable."""
    models = {name: {1: model} for name, model in loaded_models.items()}
    models["tiny"][2] = loaded_models["tiny"]
    return ServedModels(models, labels={"tiny": {"stable": 1}})


@pytest.fixture(params=PROTOCOLS)
def double(request, served):
    """A double for either protocol."""
    server = PROTOCOLS[request.param](served)
    yield server
    server.close()


@pytest.fixture
def double_process(saved_models):
    """Starts both doubles in a process of their own: (process, URL of the tiny model by protocol)."""
    started = []

    def start():
        arguments = [f"{name}={path}" for name, path in saved_models.items()]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving_double", *arguments],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        grpc_port, rest_port = process.stdout.readline().split()
        urls = {"grpc": f"grpc://localhost:{grpc_port}/tiny", "http": f"http://localhost:{rest_port}/tiny"}
        return process, urls

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def impatient(monkeypatch):
    """A client that gives up soon, so that tests of it end."""
    monkeypatch.setattr(retry, "GIVE_UP_S", 1.5)
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.05)


@pytest.fixture
def make_images():
    """A case of a 12-bit scanner: slices all different, `(slices, height, width, modalities)`."""

    def make(n_slices, height=9, width=7, modalities=2, seed=0):
        shape = (n_slices, height, width, modalities)
        return np.random.default_rng(seed).integers(-20, 4000, shape).astype(np.int16)

    return make
