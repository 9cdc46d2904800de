"""TensorFlow Serving's own protocol, through its official stubs."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import ModelError
from toolkit.inference.runtimes.server.address import Address
from toolkit.inference.runtimes.server.channel import QUESTION_TIMEOUT_S, Channel, bearer
from toolkit.inference.runtimes.server.failure import Failure, Trouble
from toolkit.inference.runtimes.server.signature import Signature

if TYPE_CHECKING:
    import grpc

MEGABYTE = 2**20
_TROUBLES = {
    "UNAVAILABLE": Trouble.UNAVAILABLE,
    "DEADLINE_EXCEEDED": Trouble.LATE,
    "RESOURCE_EXHAUSTED": Trouble.BUSY,
    "NOT_FOUND": Trouble.NOT_FOUND,
    "UNAUTHENTICATED": Trouble.LOCKED,
    "PERMISSION_DENIED": Trouble.LOCKED,
    "INVALID_ARGUMENT": Trouble.REFUSED,
    "FAILED_PRECONDITION": Trouble.REFUSED,
    "CANCELLED": Trouble.LOST,
}


class GrpcChannel(Channel):
    """Asks by gRPC, for `grpcs` under TLS with the system's roots.

    Args:
        address: of the model.

    Raises:
        ModelError: the stubs are not installed.
    """

    piece_bytes = 64 * MEGABYTE
    # Protocol buffers end at 2 GB.
    limit_bytes = 2047 * MEGABYTE

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        try:
            import grpc
            from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
        except ImportError as error:
            raise ModelError(
                f"{address.url}: grpc needs TensorFlow Serving's stubs: pip install '.[serving]', or give the server's "
                "http address"
            ) from error
        self._rpc_error = grpc.RpcError
        options = [
            ("grpc.max_send_message_length", self.limit_bytes),
            ("grpc.max_receive_message_length", self.limit_bytes),
            # Else it may rest for two minutes after a failure, longer than we try.
            ("grpc.initial_reconnect_backoff_ms", 250),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        if address.scheme == "grpcs":
            credentials = grpc.ssl_channel_credentials(_system_roots())
            channel = grpc.secure_channel(address.host, credentials, options)
        else:
            channel = grpc.insecure_channel(address.host, options)
        self._models = model_service_pb2_grpc.ModelServiceStub(channel)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        token = bearer()
        # A token that anyone on the way can read is none: not without TLS.
        self._metadata = (("authorization", token),) if token and address.scheme == "grpcs" else ()

    def slice_bytes(self, pixels: int, modalities: int, regions: int) -> int:
        """See `Channel.slice_bytes`."""
        return 4 * pixels * max(modalities, regions)

    def signatures(self) -> dict[str, Signature]:
        """See `Channel.signatures`."""
        from tensorflow_serving.apis import get_model_metadata_pb2

        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._name_model(request.model_spec)
        answer = self._call(self._predictions.GetModelMetadata, request, QUESTION_TIMEOUT_S)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return {
            name: Signature(
                {key: tuple(dim.size for dim in tensor.tensor_shape.dim) for key, tensor in signature.inputs.items()},
                frozenset(signature.outputs),
            )
            for name, signature in found.signature_def.items()
        }

    def versions(self) -> list[int]:
        """See `Channel.versions`."""
        from tensorflow_serving.apis import get_model_status_pb2

        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = self.address.model
        found = self._call(self._models.GetModelStatus, request, QUESTION_TIMEOUT_S).model_version_status
        available = get_model_status_pb2.ModelVersionStatus.State.AVAILABLE
        return sorted(status.version for status in found if status.state == available)

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray], output: str, timeout_s: float) -> np.ndarray:
        """See `Channel.predict`."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(output_filter=[output])
        self._name_model(request.model_spec)
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
        answer = self._call(self._predictions.Predict, request, timeout_s)
        return tf.make_ndarray(answer.outputs[output])

    def _name_model(self, spec: Any) -> None:
        spec.name = self.address.model
        if self.address.version is not None:
            spec.version.value = self.address.version
        if self.address.label is not None:
            spec.version_label = self.address.label

    def _call(self, method: Any, request: Any, timeout_s: float) -> Any:
        try:
            return method(request, timeout=timeout_s, metadata=self._metadata)
        except self._rpc_error as error:
            raise _failure(error) from error


def _failure(error: grpc.RpcError) -> Failure:
    name, detail = error.code().name, error.details() or ""
    # Both ends say so with the code of a server that is out of memory.
    if "larger than max" in detail:
        return Failure(Trouble.TOO_LARGE, detail)
    return Failure(_TROUBLES.get(name, Trouble.BROKEN), detail or name)


def _system_roots() -> bytes | None:
    """Certificates the system trusts, of which gRPC's own list knows nothing; none: that list."""
    trusted = ssl.create_default_context().get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, trusted)).encode() or None
