"""The way to a served model, whatever the protocol."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from toolkit.inference.runtimes.server.address import Address
from toolkit.inference.runtimes.server.signature import Signature

TOKEN = "BTS_SERVER_TOKEN"
# Reading what a model is; the first question may have to wait until the server has warmed up.
QUESTION_TIMEOUT_S = 30.0
# A piece of a scan, also where a server has no GPU and other clients.
PIECE_TIMEOUT_S = 300.0


class Channel(ABC):
    """Asks one model of one server. Each method may raise `Failure` and tries once only.

    Args:
        address: of the model.
    """

    piece_bytes: int
    """A case is cut so that messages stay below."""
    limit_bytes: int
    """No message may be larger: neither a lone window nor a case that can't be cut."""

    def __init__(self, address: Address) -> None:
        self.address = address

    @abstractmethod
    def slice_bytes(self, pixels: int, modalities: int, regions: int) -> int:
        """What a slice takes in a request or in its answer, whichever is more."""

    @abstractmethod
    def signatures(self) -> dict[str, Signature]:
        """What the model takes and gives, by name of the signature."""

    @abstractmethod
    def versions(self) -> list[int]:
        """Versions of the model that can be asked now."""

    @abstractmethod
    def predict(self, signature: str, inputs: Mapping[str, np.ndarray], output: str, timeout_s: float) -> np.ndarray:
        """One output of a signature."""


def bearer() -> str | None:
    """What authorises a request, where the user has set a token."""
    token = os.environ.get(TOKEN, "").strip()
    return f"Bearer {token}" if token else None
