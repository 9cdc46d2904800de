"""Cheng's brain tumour set fetched from figshare: four archives, each checked and unpacked.

What lies in the folder tells where a stopped run goes on:

- `.partial-MD5-NAME.zip`: a download under way, or whole and not yet unpacked; the next run asks for
  the rest of it.
- `NAME.zip`: put there by hand, and as good if it is intact; it is the user's and stays.
- `NAME/N.mat`: slices; `NAME/.unpacked.json` beside them once all are there. Then our download is
  deleted, as it would only hold the same slices a second time.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from toolkit import __version__
from toolkit.errors import OutputError, SourceError
from toolkit.files import PARTIAL, atomic_path, write_json
from toolkit.progress import byte_bar, track

FIGSHARE_API = "https://api.figshare.com/v2"
ARTICLE = 1512427
PAGE = f"https://figshare.com/articles/dataset/brain_tumor_dataset/{ARTICLE}"
N_ARCHIVES = 4
MARKER = ".unpacked.json"

MAX_TRIES = 5
BACKOFF_S = 1.0  # doubles with each try
MAX_WAIT_S = 60.0
TIMEOUTS_S = (15.0, 60.0)  # to connect; between two pieces of an answer
# What a connection breaks off with is lost up to one piece, so pieces are small.
CHUNK_BYTES = 2**16

MAX_LISTING_BYTES = 2**20
MAX_ARCHIVE_BYTES = 2**30  # the largest has 232 MB
MAX_MEMBER_BYTES = 2**26  # a slice of 512² has 0.8 MB uncompressed
MAX_UNPACKED_BYTES = 2**32  # of one archive
# 3064 slices of 0.8 MB against 880 MB of archives, if MATLAB had compressed nothing.
UNPACKED_RATIO = 3

_ARCHIVE_STEM = "brainTumorDataPublic_"
_SLICE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}\.mat")
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_OK, _PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 200, 206, 416
_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS, _SERVER_ERRORS = 408, 429, 500
# zipfile and the decompressors have no common base for what a damaged archive raises.
_ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)
T = TypeVar("T")


class _TryAgain(Exception):
    """A try failed in a way that may pass; `wait_s` is what the server asks for."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Refused(Exception):
    """What figshare answers is of no use to a program, however often it is asked."""


def _trusted_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL_HOSTS)):
        return url
    raise ValueError("neither https nor on this machine")


class _Archive(BaseModel):
    """A file of figshare's listing; the name is a plain file name by its pattern."""

    id: int = Field(gt=0)
    name: str = Field(pattern=rf"^{_ARCHIVE_STEM}[0-9]{{1,5}}-[0-9]{{1,5}}\.zip$")
    size: int = Field(gt=0, le=MAX_ARCHIVE_BYTES)
    download_url: Annotated[str, AfterValidator(_trusted_url)]
    md5: str = Field(pattern=r"^[0-9a-f]{32}$")

    @model_validator(mode="before")
    @classmethod
    def _prefer_computed_md5(cls, listed: dict[str, Any]) -> dict[str, Any]:
        return {**listed, "md5": listed.get("computed_md5") or listed.get("supplied_md5") or ""}


class _Listing(BaseModel):
    files: list[dict[str, Any]]


class _Unpacked(BaseModel):
    """What `.unpacked.json` says: the archive's checksum, and how many slices it held."""

    md5: str
    slices: int


def download_figshare(folder: Path, api: str = FIGSHARE_API) -> Path:
    """Fetch the figshare set and unpack it; goes on where an earlier run stopped.

    Args:
        folder: where the slices shall be, in a subfolder for each archive; made if missing.
        api: root of figshare's API, without a slash at the end.

    Returns:
        The folder, ready for `toolkit.data.sources.figshare.slice_files`.

    Raises:
        SourceError: figshare can't be reached or refuses, or what it sends is not what it lists.
        OutputError: the disk is too small, or the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with requests.Session() as session:
            # A compressed answer would have another length than the file.
            session.headers.update(
                {"User-Agent": f"brain-tumour-segmentation/{__version__}", "Accept-Encoding": "identity"}
            )
            archives = _list_archives(session, api)
            missing = [archive for archive in archives if not _is_unpacked(archive, folder)]
            sizes = [archive.size for archive in missing]
            _check_space(folder, UNPACKED_RATIO * sum(sizes) + max(sizes, default=0))
            for archive in missing:
                path = _fetch(session, api, archive, folder)
                _unpack(path, archive, folder)
                if path.name != archive.name:
                    path.unlink()
    except _Refused as error:
        raise SourceError(
            f"{error}; download the four archives in a browser from {PAGE}, unpack them into {folder} "
            "and run again without --download"
        ) from error
    except OSError as error:
        raise OutputError(
            f"{folder}: can't be written ({error.strerror or error}); choose another place or free this one"
        ) from error
    return folder


# The listing


def _list_archives(session: requests.Session, api: str) -> list[_Archive]:
    url = f"{api}/articles/{ARTICLE}"
    content = _with_retries(lambda: _read_listing(session, url), url)
    try:
        listed = _Listing.model_validate_json(content).files
        found = [_Archive.model_validate(file) for file in listed if _ARCHIVE_STEM in str(file.get("name"))]
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "content"
        raise _Refused(f"{url}: not the list of files it should be ({place}: {first['msg']})") from error
    names = {archive.name for archive in found}
    if len(found) != N_ARCHIVES or len(names) != N_ARCHIVES:
        raise _Refused(f"{url}: lists {len(names)} archives {_ARCHIVE_STEM}*.zip instead of {N_ARCHIVES}")
    return sorted(found, key=lambda archive: int(re.findall(r"\d+", archive.name)[0]))


def _read_listing(session: requests.Session, url: str) -> bytes:
    content = b""
    with _answer(session, url, {}) as response:
        for chunk in response.iter_content(CHUNK_BYTES):
            content += chunk
            if len(content) > MAX_LISTING_BYTES:
                raise _Refused(f"{url}: a list of more than {MAX_LISTING_BYTES} bytes")
    return content


# Answers, good and bad


@contextmanager
def _answer(session: requests.Session, url: str, headers: dict[str, str]) -> Iterator[requests.Response]:
    """An answer whose content is worth reading; errors while it is read are sorted too."""
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUTS_S) as response:
            status = response.status_code
            if status in (_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS) or status >= _SERVER_ERRORS:
                raise _TryAgain(f"HTTP {status}", _retry_after_s(response))
            # Bot protection answers 202 with nothing, or a page that wants to run JavaScript.
            is_page = response.headers.get("Content-Type", "").startswith("text/html")
            if is_page or status not in (_OK, _PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE):
                raise _Refused(f"{url}: refused (HTTP {status}{', a web page' if is_page else ''})")
            yield response
    except requests.RequestException as error:
        raise _TryAgain(_reason(error)) from error


def _with_retries(attempt: Callable[[], T], url: str) -> T:
    number = 0
    while True:
        try:
            return attempt()
        except _TryAgain as error:
            number += 1
            if error.wait_s > MAX_WAIT_S:
                wait = f"asks to wait {error.wait_s:.0f} s"
                raise SourceError(f"{url}: {error}, {wait}; run the command again after that") from error
            if number == MAX_TRIES:
                raise SourceError(
                    f"{url}: {error}, tried {MAX_TRIES} times; check the network and run the command again, "
                    "it goes on where it stopped"
                ) from error
            time.sleep(max(error.wait_s, BACKOFF_S * 2 ** (number - 1)))


def _retry_after_s(response: requests.Response) -> float:
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
    except (HTTPError, ValueError, OverflowError):
        return 0.0


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    # The first argument is urllib3's error, its `reason` the one beneath, whose first argument is the text.
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", inner)
    text = inner.args[0] if isinstance(inner, Exception) and inner.args else inner
    return " ".join(str(text).split())[:160]


# One archive


def _fetch(session: requests.Session, api: str, archive: _Archive, folder: Path) -> Path:
    """The archive, whole and checked: the user's own, or our download."""
    path = folder / archive.name
    if _is_intact(path, archive):
        return path
    # The same name in every run, unlike that of other unfinished files, so that the next run finds
    # what this one got; the checksum in it keeps the bytes of two versions of an archive apart.
    partial = folder / f"{PARTIAL}{archive.md5}-{archive.name}"
    # Bot protection guards the site's download address at times while the API's own lets a program in.
    urls = (archive.download_url, f"{api}/file/download/{archive.id}")
    with byte_bar(archive.name, archive.size) as show:
        transfer = _Transfer(session, archive, partial, show)
        try:
            _with_retries(lambda: transfer.run(urls[0]), urls[0])
        except _Refused:
            _with_retries(lambda: transfer.run(urls[1]), urls[1])
    if not _is_intact(partial, archive):
        partial.unlink()
        raise SourceError(f"{path}: checksum is not {archive.md5} as figshare lists; deleted, run the command again")
    return partial


class _Transfer:
    """Brings one archive in, over as many tries as it takes."""

    def __init__(
        self, session: requests.Session, archive: _Archive, partial: Path, show: Callable[[int], None]
    ) -> None:
        self._session, self._archive, self._partial, self._show = session, archive, partial, show
        self._etag = ""

    def run(self, url: str) -> None:
        """One try: fetch what is missing."""
        have = self._partial.stat().st_size if self._partial.exists() else 0
        if have == self._archive.size:
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and self._etag:
            headers["If-Range"] = self._etag
        with _answer(self._session, url, headers) as response:
            self._check_total(response, url)
            if not _continues(response, have):
                self._partial.unlink(missing_ok=True)
                raise _TryAgain("can't go on where the download stopped")
            etag = response.headers.get("ETag", "")
            # A weak one (RFC 9110, 8.8.1) does not promise equal bytes.
            self._etag = "" if etag.startswith("W/") else etag
            self._append(response, have if response.status_code == _PARTIAL_CONTENT else 0, url)

    def _check_total(self, response: requests.Response, url: str) -> None:
        total = _declared_total(response)
        if total is not None and total != self._archive.size:
            raise _Refused(f"{url}: has {total} bytes, figshare lists {self._archive.size}")

    def _append(self, response: requests.Response, position: int, url: str) -> None:
        size = self._archive.size
        with self._partial.open("ab" if position else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                if position + len(chunk) > size:
                    self._partial.unlink()
                    raise _Refused(f"{url}: sends more than the {size} bytes figshare lists")
                file.write(chunk)
                position += len(chunk)
                self._show(position)
        if position < size:
            raise _TryAgain(f"broke off after {position} of {size} bytes")


def _continues(response: requests.Response, have: int) -> bool:
    """Whether the answer is the whole file, or the rest of it from the byte asked for."""
    if response.status_code == _PARTIAL_CONTENT:
        return response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
    return response.status_code == _OK


def _declared_total(response: requests.Response) -> int | None:
    """Length of the whole file, as far as the headers tell (RFC 9110, 8.6 and 14.4)."""
    if response.status_code == _OK:
        text = response.headers.get("Content-Length", "")
    else:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _is_intact(path: Path, archive: _Archive) -> bool:
    if not path.is_file() or path.stat().st_size != archive.size:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False))
    return digest.hexdigest() == archive.md5


# Unpacking


def _unpack(path: Path, archive: _Archive, folder: Path) -> None:
    target = folder / Path(archive.name).stem
    try:
        with zipfile.ZipFile(path) as content:
            members = _slices_inside(content, path)
            _check_space(folder, sum(member.file_size for member in members.values()))
            for name, member in track(members.items(), f"Unpacking {archive.name}", len(members)):
                with content.open(member) as stream:
                    # Without a bound, zipfile swells a bomb whole before it cuts it to its declared size;
                    # one byte more, as the checksum of an empty member too is compared when reading on.
                    data = stream.read(member.file_size + 1)
                with atomic_path(target / name) as partial:
                    partial.write_bytes(data)
    except _ZIP_DAMAGE as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise SourceError(f"{path}: damaged archive ({reason}); delete it and run the command again") from error
    write_json(target / MARKER, _Unpacked(md5=archive.md5, slices=len(members)).model_dump())


def _slices_inside(content: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The `.mat` members by their name without folders.

    Raises:
        SourceError: one of the members, slice or not, is none of an honest archive.
    """
    slices: dict[str, zipfile.ZipInfo] = {}
    for member in content.infolist():
        parts = member.filename.replace("\\", "/").split("/")
        is_slice = _SLICE_NAME.fullmatch(parts[-1]) is not None
        if problem := _problem(member, parts, is_slice and parts[-1] in slices):
            raise SourceError(f"{path}: {member.filename!r} inside {problem}; delete the archive, don't unpack it")
        if is_slice:
            slices[parts[-1]] = member
    if not slices:
        raise SourceError(f"{path}: no .mat file inside, so no archive of the figshare set; delete it")
    if sum(member.file_size for member in slices.values()) > MAX_UNPACKED_BYTES:
        raise SourceError(f"{path}: more than {MAX_UNPACKED_BYTES} bytes inside; delete the archive, don't unpack it")
    return slices


def _problem(member: zipfile.ZipInfo, parts: list[str], is_known: bool) -> str | None:
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        return "points out of the folder"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.flag_bits & 1:
        return "is encrypted"
    # The other methods are unpacked by zipfile without a bound.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "is compressed in an unusual way"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"has {member.file_size} bytes, far more than a slice"
    return "is there twice" if is_known else None


def _is_unpacked(archive: _Archive, folder: Path) -> bool:
    target = folder / Path(archive.name).stem
    try:
        done = _Unpacked.model_validate_json((target / MARKER).read_bytes())
    except (OSError, ValueError):
        return False
    return done.md5 == archive.md5 and sum(1 for _ in target.glob("[!.]*.mat")) >= done.slices


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutputError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free; "
            "free some or choose another disk"
        )
