"""TensorFlow Serving's REST interface: JSON over HTTP, slower than gRPC, but it passes any proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import requests

from toolkit.inference.runtimes.server.address import Address
from toolkit.inference.runtimes.server.channel import QUESTION_TIMEOUT_S, Channel, bearer
from toolkit.inference.runtimes.server.failure import Failure, Trouble
from toolkit.inference.runtimes.server.signature import Signature

MEGABYTE = 2**20
CONNECT_TIMEOUT_S = 10.0
# Most that one number takes as text: `-1.1754943508222875e-38, ` as we write it, and as TensorFlow Serving does,
# on a line of its own, indented by the depth of the array.
SENT_BYTES, RECEIVED_BYTES = 25, 46
_TROUBLES = {
    400: Trouble.REFUSED,
    401: Trouble.LOCKED,
    403: Trouble.LOCKED,
    404: Trouble.NOT_FOUND,
    413: Trouble.TOO_LARGE,
    429: Trouble.BUSY,
    503: Trouble.UNAVAILABLE,
    504: Trouble.LATE,
}


class RestChannel(Channel):
    """Asks by HTTP; needs neither TensorFlow nor gRPC.

    Args:
        address: of the model.
    """

    piece_bytes = 32 * MEGABYTE
    limit_bytes = 512 * MEGABYTE

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._model = f"{address.scheme}://{address.host}/v1/models/{quote(address.model, safe='')}"
        self._asked = self._model
        if address.version is not None:
            self._asked += f"/versions/{address.version}"
        if address.label is not None:
            self._asked += f"/labels/{quote(address.label, safe='')}"
        self._session = requests.Session()
        self._session.auth = _authorise

    def slice_bytes(self, pixels: int, modalities: int, regions: int) -> int:
        """See `Channel.slice_bytes`."""
        # All outputs come back, so the mask too.
        return pixels * max(SENT_BYTES * modalities, RECEIVED_BYTES * (regions + 1))

    def signatures(self) -> dict[str, Signature]:
        """See `Channel.signatures`."""
        answer = self._call("GET", f"{self._asked}/metadata", QUESTION_TIMEOUT_S)
        with _Understanding():
            return {
                name: Signature(
                    {key: _shape(tensor) for key, tensor in signature.get("inputs", {}).items()},
                    frozenset(signature.get("outputs", {})),
                )
                for name, signature in answer["metadata"]["signature_def"]["signature_def"].items()
            }

    def versions(self) -> list[int]:
        """See `Channel.versions`."""
        answer = self._call("GET", self._model, QUESTION_TIMEOUT_S)
        with _Understanding():
            found = answer["model_version_status"]
            return sorted(int(status["version"]) for status in found if status["state"] == "AVAILABLE")

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray], output: str, timeout_s: float) -> np.ndarray:
        """See `Channel.predict`."""
        content = {"signature_name": signature, "inputs": {name: values.tolist() for name, values in inputs.items()}}
        answer = self._call("POST", f"{self._asked}:predict", timeout_s, json.dumps(content).encode())
        with _Understanding():
            outputs = answer["outputs"]
            # A lone output comes without its name.
            return np.asarray(outputs[output] if isinstance(outputs, dict) else outputs)

    def _call(self, method: str, url: str, timeout_s: float, body: bytes | None = None) -> Any:
        timeouts = (CONNECT_TIMEOUT_S, timeout_s)
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            # A redirected POST would become a GET.
            response = self._session.request(
                method, url, data=body, headers=headers, timeout=timeouts, allow_redirects=False
            )
        except requests.RequestException as error:
            raise _failure(error) from error
        if response.status_code != 200:
            raise Failure(_TROUBLES.get(response.status_code, Trouble.BROKEN), _reason(response))
        with _Understanding():
            return json.loads(response.content)


def _authorise(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sets the token at the last moment: as a header of the session, a .netrc of the user would replace it."""
    token = bearer()
    if token:
        request.headers["Authorization"] = token
    return request


class _Understanding:
    """Whatever fails in here is an answer that no TensorFlow Serving gives."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, (ValueError, KeyError, TypeError, AttributeError)):
            raise Failure(Trouble.BROKEN, "its answer is not that of a TensorFlow Serving") from error


def _shape(tensor: dict[str, Any]) -> tuple[int, ...]:
    # Protocol buffers write 64-bit integers as text.
    return tuple(int(dim["size"]) for dim in tensor["tensor_shape"].get("dim", []))


def _reason(response: requests.Response) -> str:
    try:
        return f"HTTP {response.status_code}: {json.loads(response.content)['error']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code} {response.reason}"


def _failure(error: requests.RequestException) -> Failure:
    if isinstance(error, requests.Timeout):
        return Failure(Trouble.LATE, type(error).__name__)
    # The first argument is urllib3's error, its `reason` the one beneath, made from what the system said.
    inner = error.args[0] if error.args else error
    cause = getattr(getattr(inner, "reason", None), "__cause__", None)
    if isinstance(cause, ConnectionRefusedError):
        return Failure(Trouble.UNAVAILABLE, "connection refused")
    return Failure(Trouble.LOST, str(getattr(inner, "reason", inner)))
