"""A TensorFlow Serving that runs one of our exported models."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from toolkit.errors import ModelError
from toolkit.inference.runtimes.runtime import WholeCaseRuntime
from toolkit.inference.runtimes.server.address import Address
from toolkit.inference.runtimes.server.channel import PIECE_TIMEOUT_S, QUESTION_TIMEOUT_S, Channel
from toolkit.inference.runtimes.server.channel_grpc import GrpcChannel
from toolkit.inference.runtimes.server.channel_rest import MEGABYTE, RestChannel
from toolkit.inference.runtimes.server.failure import Failure, Trouble
from toolkit.inference.runtimes.server.pieces import Piece, pieces
from toolkit.inference.runtimes.server.retry import retried
from toolkit.inference.runtimes.server.signature import (
    DESCRIBE,
    INFORMATION,
    PROBABILITY,
    REQUESTS,
    SERVE,
    SLICES,
    SPACING,
    VALUE_RANGE,
    check_modalities,
    check_signatures,
)
from toolkit.models.model_file import ModelInfo

T = TypeVar("T")


class ServerRuntime(WholeCaseRuntime):
    """A served model. What it is gets checked before the first slice is sent.

    A long case goes in pieces of whole windows, which the server answers as it would the whole; with them goes the
    value range of the case. A model that works in mm is sent whole cases.

    Args:
        url: `grpc://HOST:PORT/MODEL`, `grpcs://...` or `http(s)://HOST:PORT/v1/models/MODEL`, and if wanted
            `/versions/N` or `/labels/NAME`. The environment variable BTS_SERVER_TOKEN, where set, is sent as a bearer
            token (with grpc only under TLS).

    Raises:
        UsageError: `url` is none of these.
        ModelError: no server answers, or it serves no segmenter of this toolkit.

    Example:
        runtime = ServerRuntime("grpc://localhost:8500/tumour")
        probability = runtime.probability(case.images, intensity_range(case.images), case.spacing_mm)
    """

    def __init__(self, url: str) -> None:
        self.name = url
        address = Address.parse(url)
        self._channel: Channel = GrpcChannel(address) if address.scheme.startswith("grpc") else RestChannel(address)
        signatures = self._ask(self._channel.signatures)
        check_signatures(signatures, url)
        self.info = self._describe()
        check_modalities(signatures, self.info.modalities, url)

    def probability(
        self, images: np.ndarray, value_range: np.ndarray, spacing_mm: tuple[float, float, float] | None
    ) -> np.ndarray:
        """See `Runtime.probability`."""
        if images.shape[3] != len(self.info.modalities):
            raise ModelError(
                f"{self.name}: needs {len(self.info.modalities)} modalities ({', '.join(self.info.modalities)}), "
                f"the scan has {images.shape[3]}; give a scan with those"
            )
        about_case = {VALUE_RANGE: np.asarray(value_range, np.float32)[None]}
        if self.info.recipe.data.spacing_mm is not None:
            if spacing_mm is None:
                raise ModelError(f"{self.name}: works in mm, and the scan's spacing is unknown; give it with --spacing")
            about_case[SPACING] = np.asarray([spacing_mm], np.float32)
        result = np.empty((*images.shape[:3], len(self.info.recipe.model.regions)), np.float32)
        for piece in self._plan(images.shape):
            slices = np.asarray(images[None, piece.start : piece.stop], np.float32)
            answer = self._predict(SERVE, {SLICES: slices, **about_case}, PROBABILITY, PIECE_TIMEOUT_S)
            wanted = (1, *slices.shape[1:4], result.shape[-1])
            if answer.shape != wanted:
                raise ModelError(
                    f"{self.name}: answers with shape {answer.shape} instead of {wanted}; export the model again with "
                    "this version of the toolkit"
                )
            result[piece.start : piece.stop][piece.counts] = answer[0][piece.counts]
        return result

    def _plan(self, shape: tuple[int, ...]) -> list[Piece]:
        """Pieces of a case `(slices, height, width, modalities)` that messages can hold."""
        n_slices, height, width, modalities = shape
        data, channel = self.info.recipe.data, self._channel
        slice_bytes = channel.slice_bytes(height * width, modalities, len(self.info.recipe.model.regions))
        if data.spacing_mm is None:
            plan = pieces(n_slices, data.window, channel.piece_bytes // slice_bytes)
        else:
            plan = [Piece(0, n_slices, np.ones(n_slices, bool))]
        largest = slice_bytes * max(piece.stop - piece.start for piece in plan)
        if largest > channel.limit_bytes:
            raise ModelError(
                f"{self.name}: the scan makes a message of {largest // MEGABYTE} MB, more than "
                f"{channel.limit_bytes // MEGABYTE} MB; give a smaller scan, a model file instead of a server"
                + (", or the server's grpc address" if isinstance(channel, RestChannel) else "")
            )
        return plan

    def _describe(self) -> ModelInfo:
        one = np.zeros(1, np.int32)
        answer = self._predict(DESCRIBE, {REQUESTS: one}, INFORMATION, QUESTION_TIMEOUT_S)
        try:
            return ModelInfo.model_validate_json(answer[0])
        except (IndexError, TypeError, ValidationError) as error:
            raise ModelError(
                f"{self.name}: does not say what model it is, or in another version's words; export the model again "
                "with this version of the toolkit"
            ) from error

    def _predict(self, signature: str, inputs: dict[str, np.ndarray], output: str, timeout_s: float) -> np.ndarray:
        return self._ask(lambda: self._channel.predict(signature, inputs, output, timeout_s))

    def _ask(self, attempt: Callable[[], T]) -> T:
        try:
            return retried(attempt)
        except Failure as failure:
            raise failure.explained(self._channel.address, self._versions(failure)) from failure

    def _versions(self, failure: Failure) -> list[int]:
        """Versions that are there, where one was asked for that may not be."""
        if failure.trouble not in (Trouble.NOT_FOUND, Trouble.REFUSED):
            return []
        try:
            return self._channel.versions()
        except Failure:
            return []
