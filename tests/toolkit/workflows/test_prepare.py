"""`bts-prepare` from end to end: a checked and split store, or nothing at all."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.data.store import Store
from toolkit.errors import IntegrityError, OutputError, SourceError, UsageError
from toolkit.workflows.prepare import prepare, summary
from toolkit.workflows.sources import SourceOptions

ROOT = Path(__file__).parents[3]
SHARED = ROOT / "../shared/data/figshare"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "stores" / "mine"


@pytest.fixture
def folder(tmp_path, figshare_file):
    """Eight patients of two slices each, and one file that was cut short."""
    for patient in range(8):
        for index in (1, 2):
            figshare_file(tmp_path / f"scans/{10 * patient + index}.mat", patient=f"P{patient}", label=1 + patient % 3)
    bad = tmp_path / "scans/41.mat"
    bad.write_bytes(bad.read_bytes()[:900])
    return tmp_path / "scans"


def left_behind(out):
    return list(out.parent.iterdir()) if out.parent.exists() else []


def test_phantoms_become_a_store_that_says_they_are_synthetic(out):
    index, findings = prepare("phantom", None, out, seed=2, options=SourceOptions(n_patients=6, size=32))
    assert findings == []
    assert {file.name for file in out.iterdir()} == {
        "dataset.json",
        "shard-00000.tfrecord",
        "manifest.json",
        "integrity.html",
    }
    assert left_behind(out) == [out]
    assert json.loads((out / "dataset.json").read_text())["synthetic"] is True
    assert "Synthetic" in (out / "integrity.html").read_text()

    store = Store(out)
    assert store.index == index
    assert len(index.cases) == 18
    assert {part: len(of) for part, of in index.splits.by_patient.items()} == {"train": 4, "val": 1, "test": 1}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["seed"] == 2
    assert manifest["outputs"] == index.checksums_sha256


def test_the_same_seed_makes_the_same_store(out):
    one, other, third = (
        prepare("phantom", None, out.with_name(name), seed=seed, options=SourceOptions(n_patients=6, size=32))[0]
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == other
    assert one.checksums_sha256 != third.checksums_sha256


def test_the_counts_for_people(out, folder):
    index, _ = prepare("figshare", folder, out, skip_bad=True)
    assert summary(index) == {
        "kind": "figshare",
        "synthetic": False,
        "cases": 8,
        "slices": 15,
        "patients": 8,
        "patient_groups": 8,
        "modalities": "t1c",
        "slices_per_class": {"glioma": 5, "meningioma": 6, "pituitary": 4},
        "patient_groups_per_split": {"train": 6, "val": 1, "test": 1},
    }


def test_a_bad_file_stops_and_nothing_is_left(out, folder):
    with pytest.raises(IntegrityError, match=r"41\.mat: .*--skip-bad") as caught:
        prepare("figshare", folder, out)
    assert "\n" not in str(caught.value)
    assert left_behind(out) == []


def test_a_bad_file_is_left_out_on_request_and_named(out, folder):
    index, findings = prepare("figshare", folder, out, skip_bad=True)
    errors = [finding for finding in findings if finding.weight == "error"]
    assert [(finding.file, finding.rule) for finding in errors] == [(str(folder / "41.mat"), "unreadable")]
    names = [name for record in index.cases for name in record.slice_names]
    assert "41" not in names
    assert "42" in names
    page = (out / "integrity.html").read_text()
    assert "41.mat" in page
    assert "Synthetic" not in page
    store = Store(out)
    assert not store.index.synthetic
    assert len({record.case for record in store.index.cases}) == 8


def test_a_folder_of_bad_files_only_makes_no_store(out, folder):
    for file in folder.glob("*.mat"):
        file.write_bytes(b"nothing")
    with pytest.raises(IntegrityError, match="and 15 more errors"):
        prepare("figshare", folder, out)
    with pytest.raises(SourceError, match="nothing to store"):
        prepare("figshare", folder, out, skip_bad=True)
    assert left_behind(out) == []


def test_nothing_to_read_is_said_so(out, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no \.mat file"):
        prepare("figshare", tmp_path / "empty", out)
    with pytest.raises(SourceError, match="no such folder"):
        prepare("figshare", tmp_path / "absent", out)
    with pytest.raises(UsageError, match="name the folder"):
        prepare("figshare", None, out)
    with pytest.raises(UsageError, match="size"):
        prepare("phantom", None, out, options=SourceOptions(size=4))
    assert left_behind(out) == []


@pytest.mark.parametrize("stage", ["StoreWriter.add", "StoreWriter.finish", "write_integrity_report"])
def test_whatever_fails_nothing_is_left(out, monkeypatch, stage):
    def fail(*_args):
        raise RuntimeError("as if interrupted")

    monkeypatch.setattr(f"toolkit.workflows.prepare.{stage}", fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        prepare("phantom", None, out, options=SourceOptions(n_patients=1, size=32))
    assert left_behind(out) == []


def test_a_place_in_use_is_refused_and_left_as_it_is(out):
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("do not lose")
    with pytest.raises(OutputError, match="exists already"):
        prepare("phantom", None, out, options=SourceOptions(n_patients=1, size=32))
    with pytest.raises(OutputError, match="exists already"):
        prepare("phantom", None, out / "thesis.txt", options=SourceOptions(n_patients=1, size=32))
    assert [file.read_text() for file in out.iterdir()] == ["do not lose"]


def test_an_empty_folder_is_taken(out):
    out.mkdir(parents=True)
    prepare("phantom", None, out, options=SourceOptions(n_patients=1, size=32))
    assert Store(out).index.cases


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("figshare", SourceOptions(allow_missing=True), "--allow-missing"),
        ("phantom", SourceOptions(download=True), "--download"),
        ("pairs", SourceOptions(size=32), "--size"),
        ("dicom", SourceOptions(spacing_mm=(1, 1, 1)), "--spacing"),
    ],
)
def test_an_option_that_a_kind_does_not_take_is_refused_not_ignored(out, tmp_path, kind, options, name):
    with pytest.raises(UsageError, match=f"{kind}: takes no {name}"):
        prepare(kind, tmp_path, out, options=options)
    assert left_behind(out) == []


MEASURE = """
import json, sys, time
from pathlib import Path
from toolkit.workflows.prepare import prepare, summary
index, findings = prepare("figshare", Path(sys.argv[1]), Path(sys.argv[2]))
# ru_maxrss would begin with the peak of the process that started this one.
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 2**20
# Not on the wall's clock, of which others on the machine take some.
told = {"gigabytes": peak, "seconds": time.process_time(), **summary(index)}
print(json.dumps({**told, "errors": sum(f.weight == "error" for f in findings)}))
"""


@pytest.mark.real_scans
@pytest.mark.end_to_end
@pytest.mark.skipif(not SHARED.is_dir(), reason="no real scans in ../shared/data")
def test_the_real_set_is_stored_whole_disjoint_and_within_its_means(out):
    command = [sys.executable, "-c", MEASURE, str(SHARED / "slices"), str(out)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    measured = json.loads(done.stdout.splitlines()[-1])
    assert (measured["slices"], measured["patient_groups"], measured["errors"]) == (2454, 168, 0)
    assert measured["gigabytes"] < 1.5
    assert measured["seconds"] < 180

    store = Store(out)
    with (SHARED / "index.csv").open() as stream:
        truth = {row["id"]: row for row in csv.DictReader(stream)}
    stored = {name: record for record in store.index.cases for name in record.slice_names}
    assert {name: record.patient_group for name, record in stored.items()} == {
        name: row["patient_group"] for name, row in truth.items()
    }
    assert all(record.tumour_type == truth[name]["class_name"] for name, record in stored.items())
    parts = [{span.case.patient_group for span in store.spans("by_patient", p)} for p in ("train", "val", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 168
    assert all(min(record.tumour_pixels) > 0 for record in store.index.cases), "every real slice shows a tumour"
