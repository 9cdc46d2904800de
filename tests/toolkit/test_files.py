"""Nothing half-written is left behind, and what stands in the way is named."""

import csv
import errno
import json
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import OutputError
from toolkit.files import atomic_folder, atomic_path, write_csv, write_json


def fail_half_way(target: Path, error: BaseException, file: str | None = None) -> None:
    with atomic_path(target) as partial:
        if file:
            partial.mkdir()
            partial = partial / file
        partial.write_text("ne")
        raise error


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    target = tmp_path / "new folder" / "mask.nii.gz"
    with atomic_path(target) as partial:
        assert partial.parent == target.parent
        assert partial.name.endswith(".nii.gz")
        partial.write_bytes(b"all of it")
        assert not target.exists()
    assert target.read_bytes() == b"all of it"
    assert list(target.parent.iterdir()) == [target]


def test_a_failure_half_way_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    target = tmp_path / "report.html"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(target, RuntimeError("half way"))
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_half_written_folder_is_removed_too_when_the_user_interrupts(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fail_half_way(tmp_path / "model", KeyboardInterrupt(), file="weights")
    assert list(tmp_path.iterdir()) == []


def only_pngs(folder):
    return all(file.suffix == ".png" for file in folder.iterdir())


def fill(folder, *names, error=None):
    with atomic_folder(folder, only_pngs) as partial:
        for name in names:
            (partial / name).write_text(name)
        if error is not None:
            raise error


def test_a_folder_takes_the_place_of_an_earlier_result_only(tmp_path):
    fill(tmp_path / "out", "a.png", "b.png")
    fill(tmp_path / "out", "c.png")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "c.png"]
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="no earlier result"):
        fill(tmp_path / "out", "d.png")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["c.png", "notes.txt", "out"]


def test_a_folder_that_fails_half_way_leaves_the_earlier_one(tmp_path):
    fill(tmp_path / "out", "a.png")
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "out", "b.png", error=KeyboardInterrupt())
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "a.png"]


def test_an_earlier_folder_comes_back_where_the_new_one_can_not_be_put(tmp_path):
    fill(tmp_path / "out", "a.png")
    with pytest.raises(OutputError), atomic_folder(tmp_path / "out", only_pngs) as partial:
        partial.rmdir()  # as if the disk had lost it
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "a.png"]


def test_a_name_of_full_length_can_be_written(tmp_path):
    target = tmp_path / ("x" * 251 + ".png")
    with atomic_path(target) as partial:
        partial.write_bytes(b"png")
    assert target.exists()


def test_a_file_where_the_folder_should_be_is_an_output_error_naming_the_path(tmp_path):
    (tmp_path / "out").write_text("a file, not a folder")
    with pytest.raises(OutputError, match=r"out/metrics\.json"):
        write_json(tmp_path / "out" / "metrics.json", {})


def test_a_full_disk_is_an_output_error_naming_the_path(tmp_path):
    with pytest.raises(OutputError, match=r"mask\.png.*No space left"):
        fail_half_way(tmp_path / "mask.png", OSError(errno.ENOSPC, "No space left on device"))
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_input_is_not_blamed_on_the_output(tmp_path):
    with pytest.raises(FileNotFoundError, match="scan"), atomic_path(tmp_path / "mask.png"):
        (tmp_path / "scan.mat").read_bytes()


def test_json_holds_plain_values_and_no_nan(tmp_path):
    data = {"dice": np.float32(0.5), "hd95": float("nan"), "shape": np.array([2, 3]), "path": Path("a/b")}
    write_json(tmp_path / "metrics.json", data)

    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    read = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=no_constant)
    assert read == {"dice": 0.5, "hd95": None, "shape": [2, 3], "path": "a/b"}


def test_csv_has_every_column_and_empty_cells_for_the_unknown(tmp_path):
    write_csv(tmp_path / "rows.csv", [{"name": 'a,"b"', "dice": 0.5}, {"name": "ü", "hd95": float("nan")}])
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"name": 'a,"b"', "dice": "0.5", "hd95": ""}, {"name": "ü", "dice": "", "hd95": ""}]


def test_a_file_name_that_is_not_utf8_can_be_written_about(tmp_path):
    write_json(tmp_path / "names.json", {"file": "scan\udcff.png"})
    assert json.loads((tmp_path / "names.json").read_text())["file"] == "scan\udcff.png"
