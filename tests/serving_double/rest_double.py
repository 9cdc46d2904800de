"""A double of TensorFlow Serving's REST interface: the documented routes, in columns (`inputs`, `outputs`) only."""

import base64
import contextlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.json_format import MessageToDict
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2

from tests.serving_double.served_models import Refusal

_MODEL = r"/v1/models/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICT = re.compile(_MODEL + ":predict")
_LOOK = re.compile(_MODEL + "(?P<metadata>/metadata)?")
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}


class RestDouble:
    """Serves until it is closed.

    Args:
        served: the models.
    """

    def __init__(self, served, port=0):
        self.headers = []
        """Of each request, in order."""

        class Handler(_Handler):
            models, seen = served, self.headers

        self._server = _Server(("localhost", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.port = self._server.server_port
        self.base = f"http://localhost:{self.port}/v1/models"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._server.hang_up()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Many clients may come at once.
    request_queue_size = 128

    def __init__(self, *arguments):
        self._connections = []
        super().__init__(*arguments)

    def process_request(self, request, client_address):
        self._connections.append(request)
        super().process_request(request, client_address)

    def hang_up(self):
        """Connections that are kept alive outlive the server's socket; those of a server that has died do not."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Else the end of an answer waits for the other side to confirm its beginning.
    disable_nagle_algorithm = True

    def do_GET(self):
        self._answer(self._look)

    def do_POST(self):
        self._answer(self._predict)

    def log_message(self, *_):
        """Tests are quiet."""

    def _answer(self, route):
        self.seen.append(dict(self.headers))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            code, content = 200, route(body)
        except Refusal as refusal:
            code, content = _HTTP[refusal.code], {"error": refusal.text}
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _look(self, _):
        match = self._match(_LOOK)
        if match["metadata"]:
            request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
            _name_model(request.model_spec, match)
            answer = self.models.metadata(request)
            found = get_model_metadata_pb2.SignatureDefMap()
            answer.metadata["signature_def"].Unpack(found)
            return {"model_spec": _plain(answer.model_spec), "metadata": {"signature_def": _plain(found)}}
        request = get_model_status_pb2.GetModelStatusRequest()
        _name_model(request.model_spec, match)
        return _plain(self.models.status(request))

    def _predict(self, body):
        request = predict_pb2.PredictRequest()
        _name_model(request.model_spec, self._match(_PREDICT))
        try:
            content = json.loads(body)
        except ValueError as error:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"JSON Parse error: {error}") from error
        request.model_spec.signature_name = content.get("signature_name", "serving_default")
        if "inputs" not in content:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "Missing 'inputs' or 'instances' key")
        inputs = self.models.inputs_of(request.model_spec, request.model_spec.signature_name)
        for name, wanted in inputs.items():
            # Unlike gRPC, no default: each input has to be named.
            if name not in content["inputs"]:
                text = f"Missing named input: {name} in 'inputs' object."
                raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
            values = np.array(content["inputs"][name], tf.as_dtype(wanted.dtype).as_numpy_dtype)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        answer = self.models.predict(request)
        outputs = {name: _as_json(name, tf.make_ndarray(tensor)) for name, tensor in answer.outputs.items()}
        # A lone output comes without its name.
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}

    def _match(self, route):
        match = route.fullmatch(self.path)
        if not match:
            text = f"Malformed request: {self.command} {self.path}"
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
        return match


def _name_model(spec, match):
    spec.name = unquote(match["model"])
    if match["version"]:
        spec.version.value = int(match["version"])
    if match["label"]:
        spec.version_label = unquote(match["label"])


def _plain(message):
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _as_json(name, values):
    if values.dtype != object:
        return values.tolist()
    if name.endswith("_bytes"):
        return [{"b64": base64.b64encode(value).decode()} for value in values]
    return [value.decode() for value in values]
