"""Where a served model is: the URL a user gives, taken apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from toolkit.errors import UsageError

SCHEMES = ("grpc", "grpcs", "http", "https")
FORMS = "grpc://HOST:PORT/MODEL or http://HOST:PORT/v1/models/MODEL, and if wanted /versions/N or /labels/NAME"

_PATH = re.compile(r"(?:/v1/models)?/(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?/?")


@dataclass(frozen=True)
class Address:
    """A model of a TensorFlow Serving; made by `Address.parse`.

    Args:
        url: as the user gave it, for messages.
        scheme: one of `SCHEMES`.
        host: name and port.
        model: name of the model.
        version: which version; none: the one with the label, or else the latest.
        label: name that the server gives a version.
    """

    url: str
    scheme: str
    host: str
    model: str
    version: int | None
    label: str | None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Take a URL apart.

        Raises:
            UsageError: it is no URL of a served model.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url}: {error}; give {FORMS}") from error
        if "@" in parts.netloc:
            # Not repeated in the message: it may hold a password.
            raise UsageError("the server's URL holds a user name; leave it out, and set BTS_SERVER_TOKEN instead")
        path = _PATH.fullmatch(parts.path)
        needs_port = parts.scheme.startswith("grpc")
        if parts.scheme not in SCHEMES or not parts.hostname or not path or parts.query or (needs_port and not port):
            raise UsageError(f"{url}: no URL of a served model; give {FORMS}")
        return cls(
            url=url,
            scheme=parts.scheme,
            host=parts.netloc,
            model=unquote(path["model"]),
            version=int(path["version"]) if path["version"] else None,
            label=unquote(path["label"]) if path["label"] else None,
        )
