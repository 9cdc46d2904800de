"""The manifest says what was run, with what, on what."""

import json
import sys
import time
from datetime import UTC, datetime

import numpy as np

from toolkit import __version__
from toolkit.files import write_json
from toolkit.manifest import Manifest, file_checksums


def test_the_manifest_holds_command_versions_seed_and_time(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/bts-prepare", "figshare", "my scans", "--seed", "3"])
    before = time.time()
    manifest = Manifest(seed=3)
    time.sleep(0.15)
    write_json(tmp_path / "manifest.json", manifest.content(inputs={"a": "b"}))
    content = json.loads((tmp_path / "manifest.json").read_text())

    assert content["command"] == "bts-prepare figshare 'my scans' --seed 3"
    assert (content["seed"], content["version"]) == (3, __version__)
    assert content["packages"]["numpy"] == np.__version__
    assert content["inputs"] == {"a": "b"}
    assert 0.1 <= content["seconds"] < 5
    started = datetime.strptime(content["started"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    assert abs(started - before) < 2


def test_a_package_that_is_not_there_has_no_version(monkeypatch):
    monkeypatch.setattr("toolkit.manifest.PACKAGES", ("numpy", "no-such-package-here"))
    packages = Manifest().content()["packages"]
    assert packages["no-such-package-here"] is None
    assert packages["numpy"]


def test_checksums_are_those_of_the_standard(tmp_path):
    """SHA-256 of "abc" and of nothing, from FIPS 180-2, appendix B."""
    (tmp_path / "abc").write_bytes(b"abc")
    (tmp_path / "empty").write_bytes(b"")
    assert file_checksums([tmp_path / "abc", tmp_path / "empty"]) == {
        str(tmp_path / "abc"): "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        str(tmp_path / "empty"): "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
