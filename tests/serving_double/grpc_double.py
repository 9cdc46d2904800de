"""A double of TensorFlow Serving's gRPC services, on the official stubs."""

from concurrent.futures import ThreadPoolExecutor

import grpc
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc

from tests.serving_double.served_models import Refusal


def _answer(method, request, context):
    try:
        return method(request)
    except Refusal as refusal:
        context.abort(refusal.code, refusal.text)


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, served, seen):
        self._served, self._seen = served, seen

    def Predict(self, request, context):
        self._seen.append(dict(context.invocation_metadata()))
        return _answer(self._served.predict, request, context)

    def GetModelMetadata(self, request, context):
        return _answer(self._served.metadata, request, context)


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, served):
        self._served = served

    def GetModelStatus(self, request, context):
        return _answer(self._served.status, request, context)


class GrpcDouble:
    """Serves until it is closed.

    Args:
        served: the models.
        max_message_bytes: largest request that is read; -1: any, as TensorFlow Serving does.
        tls: key and certificate (PEM); none: no TLS.
    """

    def __init__(self, served, max_message_bytes=-1, tls=None, port=0):
        self.headers = []
        """Metadata of each request to predict, in order."""
        options = [("grpc.max_receive_message_length", max_message_bytes), ("grpc.max_send_message_length", -1)]
        self._server = grpc.server(ThreadPoolExecutor(8), options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            _Predictions(served, self.headers), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(served), self._server)
        where = f"localhost:{port}"
        if tls:
            self.port = self._server.add_secure_port(where, grpc.ssl_server_credentials([tls]))
        else:
            self.port = self._server.add_insecure_port(where)
        self._server.start()
        self.base = f"{'grpcs' if tls else 'grpc'}://localhost:{self.port}"

    def close(self):
        self._server.stop(grace=None).wait()
