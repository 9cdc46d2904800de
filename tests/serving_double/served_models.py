"""What a TensorFlow Serving does behind its two protocols, in Python: a double for tests, not a server for use.

Status codes and texts are those of TensorFlow Serving where a client relies on them.
"""

import threading
import time
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, predict_pb2


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text


class Loaded:
    """A SavedModel folder, ready to run."""

    def __init__(self, path):
        content = saved_model_pb2.SavedModel.FromString((Path(path) / "saved_model.pb").read_bytes())
        self.definitions = dict(content.meta_graphs[0].signature_def)
        self._model = tf.saved_model.load(str(path))

    def run(self, name, inputs, wanted):
        """Outputs by name; inputs that are left out get the signature's defaults."""
        if name not in self.definitions:
            raise Refusal(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        definition = self.definitions[name]
        _check_names(definition, set(inputs))
        try:
            tensors = {key: tf.constant(tf.make_ndarray(value)) for key, value in inputs.items()}
            for key in definition.inputs.keys() - inputs.keys():
                tensors[key] = tf.constant(tf.make_ndarray(definition.defaults[key]))
            outputs = self._model.signatures[name](**tensors)
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        return {key: outputs[key].numpy() for key in wanted or definition.outputs}


def _check_names(definition, sent):
    names = set(definition.inputs)
    if len(sent) > len(names) or (len(sent) < len(names) and not definition.defaults):
        text = f"input size does not match signature: {len(sent)}!={len(names)} len({{{','.join(sorted(sent))}}})"
        text += f" != len({{{','.join(sorted(names))}}})."
        text += f" Sent extra: {{{','.join(sorted(sent - names))}}}."
        text += f" Missing but required: {{{','.join(sorted(names - sent))}}}."
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
    for name in sorted(names - sent - set(definition.defaults)):
        text = f"Signature input alias: {name}(feed name: {definition.inputs[name].name}) not found in request and no"
        text += f" default value provided. Inputs expected to be in the request {{{','.join(sorted(sent))}}}"
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
    if sent - names:
        text = f"Inputs contains invalid name. Used request inputs: {','.join(sorted(sent & names))}"
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)


class ServedModels:
    """Models by name and version.

    Args:
        models: name to version to what is loaded of it.
        labels: name to label to version.
    """

    def __init__(self, models, labels=None):
        self._models = models
        self._labels = labels or {}
        self._lock = threading.Lock()
        self._refusals = []
        self.delay_s = 0.0
        """How long a request to predict waits."""
        self.predicted = []
        """Signature and input shapes of each request to predict, in order."""

    def refuse_next(self, times, code, text):
        """Answer so many requests to predict with an error."""
        self._refusals = [Refusal(code, text)] * times

    def predict(self, request):
        name = request.model_spec.signature_name or "serving_default"
        shapes = {
            key: tuple(dim.size for dim in tensor.tensor_shape.dim) for key, tensor in sorted(request.inputs.items())
        }
        with self._lock:
            self.predicted.append((name, shapes))
            refusal = self._refusals.pop() if self._refusals else None
        time.sleep(self.delay_s)
        if refusal:
            raise refusal
        version, loaded = self._find(request.model_spec)
        outputs = loaded.run(name, request.inputs, request.output_filter)
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name, answer.model_spec.signature_name = request.model_spec.name, name
        answer.model_spec.version.value = version
        for key, values in outputs.items():
            answer.outputs[key].CopyFrom(tf.make_tensor_proto(values))
        return answer

    def metadata(self, request):
        if not request.metadata_field:
            text = "GetModelMetadataRequest must specify at least one metadata_field"
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
        version, loaded = self._find(request.model_spec)
        found = get_model_metadata_pb2.SignatureDefMap(signature_def=loaded.definitions)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = request.model_spec.name
        answer.model_spec.version.value = version
        answer.metadata["signature_def"].Pack(found)
        return answer

    def status(self, request):
        spec = request.model_spec
        versions = self._models.get(spec.name, {})
        if not versions:
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
        if spec.WhichOneof("version_choice"):
            wanted = self._wanted(spec)
            if wanted not in versions:
                raise Refusal(grpc.StatusCode.NOT_FOUND, f"Could not find version {wanted} of model {spec.name}")
            versions = [wanted]
        answer = get_model_status_pb2.GetModelStatusResponse()
        for version in sorted(versions, reverse=True):
            state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
            answer.model_version_status.add(version=version, state=state).status.error_code = 0
        return answer

    def inputs_of(self, spec, name):
        """Inputs of a signature, which REST looks up to read JSON."""
        _, loaded = self._find(spec)
        if name not in loaded.definitions:
            text = f'Serving signature name: "{name}" not found in signature def'
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)
        return loaded.definitions[name].inputs

    def _find(self, spec):
        wanted = self._wanted(spec)
        versions = self._models.get(spec.name, {})
        if wanted is None and versions:
            wanted = max(versions)
        if wanted not in versions:
            asked = f"Latest({spec.name})" if wanted is None else f"Specific({spec.name}, {wanted})"
            raise Refusal(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")
        return wanted, versions[wanted]

    def _wanted(self, spec):
        choice = spec.WhichOneof("version_choice")
        if choice != "version_label":
            return spec.version.value if choice else None
        label = spec.version_label
        if label not in self._labels.get(spec.name, {}):
            raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}")
        return self._labels[spec.name][label]
