"""The figshare set over a line that breaks: a server on this machine plays figshare on its worse days."""

import errno
import hashlib
import io
import json
import shutil
import stat
import sys
import threading
import time
import tracemalloc
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest

from toolkit.data.sources import figshare_download
from toolkit.data.sources.figshare import slice_files
from toolkit.data.sources.figshare_download import ARTICLE, PAGE, download_figshare
from toolkit.errors import OutputError, SourceError
from toolkit.files import PARTIAL

NAMES = [f"brainTumorDataPublic_{first}-{first + 2}.zip" for first in (1, 4, 7, 10)]
FIRST_FILE, FIRST_FILE_BY_API = "/files/1", "/v2/file/download/1"
HTML = {"Content-Type": "text/html; charset=UTF-8"}


def zipped(members, compression=zipfile.ZIP_STORED):
    """An archive of the given names (or ZipInfos) and bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def slices(first):
    """Three slices of 100 kB that don't compress, in a folder as zip programs make it."""
    random = np.random.default_rng(first)
    return {f"brainTumorDataPublic/{first + i}.mat": random.bytes(100_000) for i in range(3)}


class Figshare:
    """Plays figshare. Faults are answers given in place of the right one, one each time a path is asked for.

    A fault is `{"status", "headers", "body"}`, `{"break_after": n}` (the line breaks after n bytes) or
    `{"ignore_range": True}`; `always` keeps it for every request.
    """

    def __init__(self, port):
        self.root = f"http://127.0.0.1:{port}"
        self.api = f"{self.root}/v2"
        self.contents = {f"/files/{i + 1}": zipped(slices(3 * i + 1)) for i in range(4)}
        self.faults, self.always, self.requests = {}, {}, []
        self.etag = '"one"'
        self.listing = {"id": ARTICLE, "files": [self._listed(i) for i in range(4)]}
        self.listing["files"].reverse()
        self.listing["files"].append({"id": 9, "name": "README 2024.txt", "size": 0, "download_url": "ftp://x"})

    def _listed(self, index):
        content = self.contents[f"/files/{index + 1}"]
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return {
            "id": index + 1,
            "name": NAMES[index],
            "size": len(content),
            "is_link_only": False,
            "download_url": f"{self.root}/files/{index + 1}",
            "supplied_md5": md5,
            "computed_md5": md5,
        }

    def entry(self, index=0):
        return next(file for file in self.listing["files"] if file["id"] == index + 1)

    def replace(self, index, content):
        self.contents[f"/files/{index + 1}"] = content
        self.entry(index).update(self._listed(index))

    def answer(self, path, asked):
        """Status, headers, body and the number of bytes after which the line breaks."""
        fault = self.faults[path].pop(0) if self.faults.get(path) else self.always.get(path, {})
        if "status" in fault:
            return fault["status"], fault.get("headers", {}), fault.get("body", b""), None
        if path == f"/v2/articles/{ARTICLE}":
            return 200, {"Content-Type": "application/json"}, json.dumps(self.listing).encode(), None
        content = self.contents[path.replace("/v2/file/download", "/files")]
        cut, start = fault.get("break_after"), int(asked[6:-1]) if asked else 0
        if not start or fault.get("ignore_range"):
            return 200, {"ETag": self.etag}, content, cut
        if start >= len(content):
            return 416, {"Content-Range": f"bytes */{len(content)}"}, b"", None
        position = f"bytes {start}-{len(content) - 1}/{len(content)}"
        return 206, {"ETag": self.etag, "Content-Range": position}, content[start:], cut

    def asked_for(self, path):
        """What was asked of a path: the Range header of each request, in order."""
        return [asked for requested, asked, _ in self.requests if requested == path]


@pytest.fixture
def figshare(monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked = self.headers.get("Range")
            site.requests.append((self.path, asked, self.headers.get("If-Range")))
            status, headers, body, cut = site.answer(self.path, asked)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # who has had enough hangs up
                self.wfile.write(body[:cut])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Figshare(server.server_port)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setattr(figshare_download, "BACKOFF_S", 0.001)
    monkeypatch.setenv("NO_PROXY", "*")
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "downloads/figshare"


def assert_complete(folder, theirs=()):
    """All slices with the bytes they had before they were zipped, beside them the marks and what is the user's."""
    expected = {name.split("/")[1]: content for i in range(4) for name, content in slices(3 * i + 1).items()}
    found = slice_files(folder)
    assert [file.name for file in found] == [f"{number}.mat" for number in range(1, 13)]
    assert {file.name: file.read_bytes() for file in found} == expected
    assert {file.name for file in folder.rglob("*") if file.is_file()} == {*expected, ".unpacked.json", *theirs}


def assert_one_line(error, *texts):
    message = str(error.value)
    assert "\n" not in message
    for text in texts:
        assert text in message


def partial_of(folder):
    (file,) = folder.glob(f"{PARTIAL}*{NAMES[0]}")
    return file


# A good day


def test_the_whole_set_lies_in_the_folder_and_a_second_run_fetches_nothing(figshare, folder):
    assert download_figshare(folder, figshare.api) == folder
    assert_complete(folder)
    files = [path for path, *_ in figshare.requests if path.startswith("/files")]
    assert files == [f"/files/{i}" for i in (1, 2, 3, 4)]

    download_figshare(folder, figshare.api)
    assert figshare.requests[5:] == [(f"/v2/articles/{ARTICLE}", None, None)]
    assert_complete(folder)


@pytest.mark.parametrize("lost", ["5.mat", ".unpacked.json"])
def test_what_was_deleted_comes_back_and_the_other_archives_are_left_alone(figshare, folder, lost):
    download_figshare(folder, figshare.api)
    (folder / "brainTumorDataPublic_4-6" / lost).unlink()
    figshare.requests.clear()
    download_figshare(folder, figshare.api)
    assert [path for path, *_ in figshare.requests[1:]] == ["/files/2"]
    assert_complete(folder)


def test_an_archive_that_lies_there_whole_is_unpacked_and_one_that_is_not_is_fetched(figshare, folder):
    folder.mkdir(parents=True)
    (folder / NAMES[0]).write_bytes(figshare.contents["/files/1"])
    (folder / NAMES[1]).write_bytes(figshare.contents["/files/2"][:-1] + b"?")
    download_figshare(folder, figshare.api)
    assert not figshare.asked_for("/files/1")
    assert figshare.asked_for("/files/2") == [None]
    # What the user has put there is not ours to delete, also if it was of no use.
    assert_complete(folder, theirs=NAMES[:2])


def test_a_terminal_sees_bytes_and_files_go_by(figshare, folder, monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    download_figshare(folder, figshare.api)
    shown = capsys.readouterr().err
    assert "300.4/300.4 kB" in shown
    assert f"Unpacking {NAMES[3]}" in shown


# Broken lines


@pytest.mark.parametrize(("etag", "unchanged"), [('"one"', '"one"'), ('W/"alike"', None)])
def test_a_line_that_breaks_off_is_taken_up_where_it_broke(figshare, folder, etag, unchanged):
    figshare.etag = etag
    figshare.faults[FIRST_FILE] = [{"break_after": 100_000}, {"break_after": 70_000}]
    download_figshare(folder, figshare.api)
    first, *resumed = [request for request in figshare.requests if request[0] == FIRST_FILE]
    assert first == (FIRST_FILE, None, None)
    # Pieces of 65536 bytes: one of the first answer, one more of the second.
    assert resumed == [(FIRST_FILE, "bytes=65536-", unchanged), (FIRST_FILE, "bytes=131072-", unchanged)]
    assert_complete(folder)


def test_storage_elsewhere_is_found_anew_with_each_try(figshare, folder):
    """figshare sends on to a signed address that is good for seconds only."""
    figshare.contents["/storage"] = figshare.contents["/files/1"]
    figshare.always[FIRST_FILE] = {"status": 302, "headers": {"Location": "/storage"}}
    figshare.faults["/storage"] = [{"break_after": 70_000}]
    download_figshare(folder, figshare.api)
    assert figshare.asked_for(FIRST_FILE) == figshare.asked_for("/storage") == [None, "bytes=65536-"]
    assert_complete(folder)


def test_when_every_try_breaks_off_the_next_run_goes_on(figshare, folder):
    figshare.always[FIRST_FILE] = {"break_after": 66_000}
    figshare.faults[FIRST_FILE] = [{"break_after": 10}] * 4
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, f"{figshare.root}/files/1", "tried 5 times", "goes on where it stopped")
    assert partial_of(folder).read_bytes() == figshare.contents["/files/1"][:65536]

    figshare.always.clear()
    figshare.requests.clear()
    download_figshare(folder, figshare.api)
    assert figshare.asked_for(FIRST_FILE) == ["bytes=65536-"]
    assert_complete(folder)


@pytest.mark.parametrize("stop_at", [100_000, 200_000])
def test_ctrl_c_during_the_download_leaves_what_has_come(figshare, folder, monkeypatch, stop_at):
    def interrupted(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        figshare.faults[FIRST_FILE] = [{"break_after": stop_at}]
        patch.setattr(time, "sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download_figshare(folder, figshare.api)
    download_figshare(folder, figshare.api)
    assert figshare.asked_for(FIRST_FILE) == [None, f"bytes={stop_at // 65536 * 65536}-"]
    assert_complete(folder)


def test_ctrl_c_while_unpacking_costs_no_second_download(figshare, folder, monkeypatch):
    def interrupted(items, what, total):
        yield next(iter(items))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(figshare_download, "track", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download_figshare(folder, figshare.api)
    assert [file.name for file in slice_files(folder)] == ["1.mat"]
    download_figshare(folder, figshare.api)
    assert figshare.asked_for(FIRST_FILE) == [None]
    assert_complete(folder)


def test_a_stop_between_archives_keeps_the_first(figshare, folder):
    figshare.faults["/files/2"] = [{"status": 503}] * figshare_download.MAX_TRIES
    with pytest.raises(SourceError, match="HTTP 503"):
        download_figshare(folder, figshare.api)
    assert len(slice_files(folder)) == 3
    assert not list(folder.glob(f"*{NAMES[0]}"))
    download_figshare(folder, figshare.api)
    assert figshare.asked_for("/files/1") == [None]
    assert_complete(folder)


def test_a_server_that_ignores_ranges_sends_all_of_it_again(figshare, folder):
    figshare.faults[FIRST_FILE] = [{"break_after": 100_000}, {"ignore_range": True}]
    download_figshare(folder, figshare.api)
    assert len(figshare.asked_for(FIRST_FILE)) == 2
    assert not figshare.asked_for(FIRST_FILE_BY_API)
    assert_complete(folder)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 416},
        {"status": 206, "headers": {"Content-Range": "bytes 7-9/*"}, "body": b"abc"},
    ],
    ids=["range not satisfiable", "another range than asked for"],
)
def test_a_range_that_does_not_fit_starts_again(figshare, folder, answer):
    figshare.faults[FIRST_FILE] = [{"break_after": 100_000}, answer]
    download_figshare(folder, figshare.api)
    assert figshare.asked_for(FIRST_FILE) == [None, "bytes=65536-", None]
    assert_complete(folder)


@pytest.mark.parametrize("path", [f"/v2/articles/{ARTICLE}", FIRST_FILE])
def test_a_server_that_stumbles_is_asked_again_and_its_wish_to_wait_is_heard(figshare, folder, monkeypatch, path):
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    figshare.faults[path] = [{"status": 500}, {"status": 429, "headers": {"Retry-After": "7"}}]
    download_figshare(folder, figshare.api)
    assert waits == [0.001, 7]
    assert_complete(folder)


def test_a_server_that_wants_an_hour_is_not_waited_for(figshare, folder):
    figshare.always[FIRST_FILE] = {"status": 429, "headers": {"Retry-After": "3600"}}
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, "/files/1", "HTTP 429", "3600 s")


@pytest.mark.parametrize("api", ["http://figshare.invalid/v2", "http://127.0.0.1:9/v2"])
def test_no_network_is_one_line(figshare, folder, monkeypatch, api):
    monkeypatch.setattr(figshare_download, "MAX_TRIES", 2)
    with pytest.raises(SourceError) as error:
        download_figshare(folder, api)
    assert_one_line(error, f"{api}/articles/{ARTICLE}", "check the network")


def test_a_server_that_falls_silent_is_not_waited_for_for_ever(figshare, folder, monkeypatch):
    monkeypatch.setattr(figshare_download, "TIMEOUTS_S", (1.0, 0.05))
    monkeypatch.setattr(figshare, "answer", lambda *_: time.sleep(0.3) or (200, {}, b"", None))
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, "no answer in time")


# Wrong content


def test_a_wrong_checksum_deletes_the_file_and_the_next_run_starts_again(figshare, folder):
    right = figshare.contents["/files/1"]
    figshare.contents["/files/1"] = right[:-1] + b"?"
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, NAMES[0], "checksum", figshare.entry()["computed_md5"])
    assert list(folder.iterdir()) == []

    figshare.contents["/files/1"] = right
    download_figshare(folder, figshare.api)
    assert figshare.asked_for(FIRST_FILE) == [None, None]
    assert_complete(folder)


@pytest.mark.parametrize("length", [1000, 400_000])
def test_a_file_of_another_length_than_listed_is_refused_before_it_is_written(figshare, folder, length):
    figshare.contents["/files/1"] = bytes(length)
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, f"has {length} bytes", f"lists {figshare.entry()['size']}", PAGE)
    assert list(folder.iterdir()) == []


def test_a_file_that_does_not_tell_its_length_never_outgrows_what_is_listed(figshare, folder, monkeypatch):
    kept, right = [], figshare.answer

    def endless(path, asked):
        status, headers, body, cut = right(path, asked)
        return (status, headers, body, cut) if "articles" in path else (200, {"Content-Length": ""}, bytes(10**6), cut)

    monkeypatch.setattr(figshare, "answer", endless)
    monkeypatch.setattr(figshare_download, "byte_bar", lambda *_: _Recorder(kept))
    with pytest.raises(SourceError, match=f"sends more than the {figshare.entry()['size']} bytes"):
        download_figshare(folder, figshare.api)
    assert 0 < max(kept) <= figshare.entry()["size"]
    assert list(folder.iterdir()) == []


class _Recorder:
    def __init__(self, kept):
        self.kept = kept

    def __enter__(self):
        return self.kept.append

    def __exit__(self, *args):
        pass


@pytest.mark.parametrize(
    "refusal",
    [{"status": 403}, {"status": 202}, {"status": 200, "headers": HTML, "body": b"<html>Are you human?</html>"}],
    ids=["forbidden", "challenge", "web page"],
)
def test_a_refusal_names_address_status_and_the_way_by_hand(figshare, folder, refusal):
    figshare.always = {FIRST_FILE: refusal, FIRST_FILE_BY_API: refusal}
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    status = f"HTTP {refusal['status']}"
    assert_one_line(error, figshare.root + FIRST_FILE_BY_API, status, PAGE, str(folder), "without --download")

    figshare.always = {f"/v2/articles/{ARTICLE}": refusal}
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, f"{figshare.api}/articles/{ARTICLE}", status, PAGE, str(folder), "without --download")


def test_where_the_site_refuses_the_file_is_fetched_through_the_api(figshare, folder):
    figshare.always[FIRST_FILE] = {"status": 202}
    download_figshare(folder, figshare.api)
    assert figshare.asked_for(FIRST_FILE_BY_API) == [None]
    assert_complete(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../brainTumorDataPublic_1-3.zip"},
        {"name": "/tmp/brainTumorDataPublic_1-3.zip"},
        {"name": "brainTumorDataPublic_1-3.zip\n"},
        {"name": NAMES[1]},
        {"name": "something else.zip"},
        {"size": 0},
        {"size": 2**40},
        {"download_url": "http://example.org/files/1"},
        {"download_url": "file:///etc/passwd"},
        {"computed_md5": "../evil", "supplied_md5": "../evil"},
        {"computed_md5": None, "supplied_md5": ""},
    ],
    ids=lambda change: " ".join(f"{key} {value!r}" for key, value in change.items()),
)
def test_a_listing_that_can_not_be_right_is_refused_before_anything_is_fetched(figshare, folder, change):
    figshare.entry().update(change)
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, f"/articles/{ARTICLE}", PAGE)
    assert len(figshare.requests) == 1
    assert list(folder.parent.iterdir()) == [folder]
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[]", b'{"files": 3}', b'{"files": []}'])
def test_a_listing_that_is_none_is_refused(figshare, folder, body):
    figshare.faults[f"/v2/articles/{ARTICLE}"] = [{"status": 200, "body": body}]
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, f"/articles/{ARTICLE}", PAGE)


def test_a_listing_without_end_is_not_read_to_the_end(figshare, folder):
    figshare.listing["description"] = "x" * 2**20
    with pytest.raises(SourceError, match="more than 1048576 bytes"):
        download_figshare(folder, figshare.api)


# Archives


def link():
    info = zipfile.ZipInfo("2.mat")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def encrypted():
    """An archive whose central directory says that its member is encrypted."""
    content = bytearray(zipped({"1.mat": b"secret"}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (zipped({"1.mat": b"x", "../evil.mat": b"x"}), "points out"),
        (zipped({"1.mat": b"x", "..\\evil.mat": b"x"}), "points out"),
        (zipped({"/tmp/evil.mat": b"x"}), "points out"),
        (zipped({"C:\\evil.mat": b"x"}), "points out"),
        (zipped({link(): "/etc/passwd"}), "link"),
        (encrypted(), "inside is encrypted"),
        (zipped({"1.mat": bytes(2**26 + 1)}, zipfile.ZIP_DEFLATED), "67108865 bytes"),
        (zipped({"1.mat": bytes(10)}, zipfile.ZIP_BZIP2), "unusual"),
        (zipped({"a/1.mat": b"x", "b/1.mat": b"y"}), "twice"),
        (zipped({"README.txt": b"x"}), r"no \.mat"),
    ],
    ids=["up", "up by backslash", "absolute", "drive", "link", "encrypted", "bomb", "bzip2", "twice", "no slices"],
)
def test_an_archive_that_is_no_honest_one_is_not_unpacked_at_all(figshare, folder, content, problem):
    figshare.replace(0, content)
    with pytest.raises(SourceError, match=problem) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, f"-{NAMES[0]}: ", "delete")
    (left,) = [file.name for file in folder.parent.rglob("*") if file.is_file()]
    assert left.endswith(f"-{NAMES[0]}"), "the archive, under the name of a download"


def test_what_a_bomb_hides_behind_a_small_declared_size_is_never_unpacked(figshare, folder):
    """The directory says 10 bytes, the stream swells to 100 MB."""
    content = bytearray(zipped({"1.mat": bytes(10**8)}, zipfile.ZIP_DEFLATED))
    for magic, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(magic) + offset
        content[at : at + 4] = (10).to_bytes(4, "little")
    figshare.replace(0, bytes(content))
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="damaged archive"):
            download_figshare(folder, figshare.api)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10**7
    assert not list(folder.rglob("*.mat"))


def test_an_archive_is_bounded_as_a_whole(figshare, folder, monkeypatch):
    monkeypatch.setattr(figshare_download, "MAX_UNPACKED_BYTES", 299_999)
    with pytest.raises(SourceError, match="more than 299999 bytes inside"):
        download_figshare(folder, figshare.api)


def test_other_files_of_an_archive_stay_in_it(figshare, folder):
    extra = {"cvind.mat": b"folds", "README.txt": b"x", "__MACOSX/._1.mat": b"x", "brainTumorDataPublic/": b""}
    figshare.replace(0, zipped({**slices(1), **extra}))
    download_figshare(folder, figshare.api)
    files = {file.name for file in (folder / "brainTumorDataPublic_1-3").iterdir()}
    assert files == {"1.mat", "2.mat", "3.mat", "cvind.mat", ".unpacked.json"}
    assert len(slice_files(folder)) == 12


@pytest.mark.parametrize("damage", ["cut", "bytes of a slice"])
def test_a_damaged_archive_is_named(figshare, folder, damage):
    content = bytearray(figshare.contents["/files/1"])
    content = content[:-100] if damage == "cut" else content[:5000] + b"?" * 100 + content[5100:]
    figshare.replace(0, bytes(content))
    with pytest.raises(SourceError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, f"-{NAMES[0]}: ", "damaged", "delete it")


# The disk


def test_too_small_a_disk_is_told_before_anything_is_written(figshare, folder, monkeypatch):
    """Room for all slices and one archive at a time; then, once its content is known, for the archive's slices."""
    sizes = [len(content) for content in figshare.contents.values()]
    needed = 3 * sum(sizes) + max(sizes)
    free = iter([needed - 1, needed, 299_999])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    for files_asked_for in (0, 1):
        with pytest.raises(OutputError) as error:
            download_figshare(folder, figshare.api)
        assert_one_line(error, str(folder), "GB are free")
        assert len(figshare.asked_for(FIRST_FILE)) == files_asked_for
    assert not list(folder.rglob("*.mat"))


def test_a_disk_that_fills_up_is_an_output_error(figshare, folder, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(figshare_download._Transfer, "_append", full)
    with pytest.raises(OutputError) as error:
        download_figshare(folder, figshare.api)
    assert_one_line(error, str(folder), "No space left")


def test_a_file_where_the_folder_should_be_is_an_output_error(figshare, folder):
    folder.parent.mkdir()
    folder.write_text("not a folder")
    with pytest.raises(OutputError, match="figshare"):
        download_figshare(folder, figshare.api)
