"""What can go wrong between a client and a server, and what the user is told."""

from __future__ import annotations

from enum import Enum

from toolkit.errors import ModelError, ServerError
from toolkit.inference.runtimes.server.address import Address


class Trouble(Enum):
    """Kinds of failure, the same for both protocols; the value says what a user can do."""

    UNAVAILABLE = (
        "the server can't be reached or is too busy ({detail}); start it, check host and port (TensorFlow Serving: "
        "8500 for grpc, 8501 for http), or try again later"
    )
    LOST = "the connection failed ({detail}); check the address, and whether the server still runs"
    LATE = "no answer in time ({detail}); check the address, or give the server fewer clients or a faster machine"
    BUSY = "the server has no room for this request ({detail}); try again later, or with fewer clients at once"
    TOO_LARGE = "the scan makes a message larger than is allowed ({detail}); allow larger ones, or give a smaller scan"
    NOT_FOUND = "not found there ({detail}); check the name of the model, or serve it"
    LOCKED = "the server lets nobody in without a valid token ({detail}); set BTS_SERVER_TOKEN"
    REFUSED = "the server refuses the request ({detail}); export the model again with this version of the toolkit"
    BROKEN = "the server failed ({detail}); see its log"


NOBODY_THERE = {Trouble.UNAVAILABLE, Trouble.LOST, Trouble.LATE, Trouble.BUSY, Trouble.LOCKED}


class Failure(Exception):
    """A request that failed.

    Args:
        trouble: what kind of failure it is.
        detail: what the server, or the way to it, said.
    """

    def __init__(self, trouble: Trouble, detail: str) -> None:
        super().__init__(detail)
        self.trouble = trouble
        self.detail = " ".join(detail.split())[:200]

    def explained(self, address: Address, versions: list[int]) -> ModelError:
        """The error for the user.

        Args:
            address: what was asked for.
            versions: those of the model that the server has; empty where that is not known.
        """
        there = f"versions there: {', '.join(map(str, versions))}"
        if versions and self.trouble is Trouble.NOT_FOUND and address.version is not None:
            return ModelError(f"{address.url}: no version {address.version} of model {address.model}; {there}")
        if versions and self.trouble is Trouble.REFUSED and address.label is not None and "label" in self.detail:
            return ModelError(f"{address.url}: no label {address.label} of model {address.model}; {there}")
        kind = ServerError if self.trouble in NOBODY_THERE else ModelError
        return kind(f"{address.url}: {self.trouble.value.format(detail=self.detail)}")
