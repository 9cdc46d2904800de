"""Whatever is wrong with the input: one line that names it, exit code 1 or 2, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

from cli.evaluate import main as evaluate
from cli.predict import main as predict
from cli.prepare import main as prepare
from cli.train import main as train
from toolkit.config import load_recipe
from toolkit.models.model_file import ModelInfo, save_model

REPOSITORY = Path(__file__).parents[2]


def refused(app, *arguments: object, code: int = 1) -> str:
    """The one line a command ends with."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def write_mat(path: Path, image=None, mask=None, root: str = "cjdata") -> Path:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 40)).astype(np.int16) if image is None else image
    mask = np.zeros((40, 40), np.uint8) if mask is None else mask
    path.parent.mkdir(exist_ok=True, parents=True)
    with h5py.File(path, "w") as file:
        file[f"{root}/image"], file[f"{root}/tumorMask"] = image.T, mask.T
        file[f"{root}/label"] = np.array([[1.0]])
        file[f"{root}/PID"] = np.array([[ord(c)] for c in "100360"], np.uint16)
    return path


def truncated(path: Path) -> Path:
    write_mat(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def model_file(folder: Path, modalities: tuple[str, ...] = ("t1c",), whole: bool = False) -> Path:
    """A model file: whole, or only what it says of itself."""
    recipe = load_recipe("tiny")
    info = ModelInfo(
        recipe=recipe,
        modalities=modalities,
        label_map={"background": 0, "tumour": 1},
        data_kind="nifti",
        data_checksums_sha256={},
        synthetic_data=False,
    )
    path = folder / "model.keras"
    if whole:
        from toolkit.models.segmenter import build_segmenter

        save_model(build_segmenter(recipe, len(modalities)), path, info)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("bts.json", info.model_dump_json())
    return path


FAULTS = {
    "truncated": truncated,
    "without cjdata": lambda path: write_mat(path, root="other"),
    "mask of another shape": lambda path: write_mat(path, mask=np.zeros((30, 40), np.uint8)),
    "NaN": lambda path: write_mat(path, image=np.full((40, 40), np.nan, np.float32)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_prepare_names_the_bad_file_and_writes_no_store(tmp_path, fault):
    write_mat(tmp_path / "in" / "1.mat")
    FAULTS[fault](tmp_path / "in" / "2.mat")
    line = refused(prepare, "figshare", tmp_path / "in", "--out", tmp_path / "store")
    assert str(tmp_path / "in" / "2.mat") in line
    assert "--skip-bad" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_prepare_of_an_empty_folder(tmp_path):
    (tmp_path / "in").mkdir()
    assert "no .mat file" in refused(prepare, "figshare", tmp_path / "in", "--out", tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_prepare_into_a_place_that_cannot_be_written(tmp_path):
    write_mat(tmp_path / "in" / "1.mat")
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "store"
    assert str(out) in refused(prepare, "figshare", tmp_path / "in", "--out", out)


def test_prepare_on_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    write_mat(tmp_path / "in" / "1.mat")
    monkeypatch.setattr("toolkit.data.store_writer.StoreWriter.add", full)
    assert "No space left" in refused(prepare, "figshare", tmp_path / "in", "--out", tmp_path / "store")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_train_with_an_unknown_key_says_what_is_allowed(tmp_path):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("training: {epoch: 3}\n")
    line = refused(train, recipe, "--data", tmp_path, code=2)
    assert "training.epoch: unknown key" in line
    assert "epochs" in line


def test_train_with_a_missing_recipe_lists_those_that_ship(tmp_path):
    assert "tiny" in refused(train, "no-such-recipe", "--data", tmp_path, code=2)


def test_train_without_a_store(tmp_path):
    line = refused(train, "tiny", "--data", tmp_path / "store", "--out", tmp_path / "run")
    assert "bts-prepare" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("app", [predict, evaluate])
def test_a_missing_model(tmp_path, app):
    scan = write_mat(tmp_path / "1.mat")
    missing = tmp_path / "run"
    arguments = (scan, "--model", missing) if app is predict else (missing, "--data", tmp_path)
    line = refused(app, *arguments, "--out", tmp_path / "out")
    assert str(missing) in line
    assert not (tmp_path / "out").exists()


def test_predict_without_a_scan_in_the_folder(tmp_path):
    (tmp_path / "in").mkdir()
    line = refused(predict, tmp_path / "in", "--model", model_file(tmp_path), "--out", tmp_path / "out")
    assert "no scan found" in line


@pytest.mark.parametrize(
    ("modalities", "files", "says"),
    [
        (("t1c", "t2f"), ["BraTS-GLI-00001-000-t1c.nii.gz", "BraTS-GLI-00001-000-seg.nii.gz"], "the case has no t2f"),
        (("t1c", "t2f"), ["lone.nii.gz"], "holds 1 volumes where 2 are needed (t1c, t2f)"),
    ],
)
def test_predict_says_which_modality_a_case_lacks(tmp_path, modalities, files, says):
    import nibabel as nib

    (tmp_path / "in").mkdir()
    for name in files:
        nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.int16), np.eye(4)), tmp_path / "in" / name)
    model = model_file(tmp_path, modalities, whole=True)
    assert says in refused(predict, tmp_path / "in", "--model", model, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


SPACING_HELP = "write it as SLICE,ROW,COLUMN"


@pytest.mark.parametrize("spacing", ["5", "5,1", "5,1,x", "5,1,0", "5,1,nan", "1,1,-1", "1,2,3,4"])
def test_spacing_that_is_none_is_wrong_use(tmp_path, spacing):
    for app, arguments in ((prepare, ["pairs", "in"]), (predict, ["in", "--model", "m"])):
        result = CliRunner().invoke(app, [*arguments, f"--spacing={spacing}"])
        assert result.exit_code == 2
        assert SPACING_HELP in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        (["nifti", "in"], "no volume in it", 1),
        (["nifti", "absent"], "no such folder", 1),
        (["pairs", "in"], "in:", 1),
        (["dicom", "in"], "no readable DICOM SEG", 1),
        (["nifti", "in", "--pattern", "t1c"], "write it as NAME=PATTERN", 2),
        (["nifti", "in", "--pattern", "t1c=a.nii", "--recipe", "tiny"], "give one of them", 2),
        (["nifti", "in", "--recipe", "tiny"], "has no data.layout", 2),
        (["nifti", "in", "--recipe", "no-such"], "no such recipe", 2),
        (["figshare", "in", "--spacing", "5,1,1"], "figshare: takes no --spacing", 2),
        (["phantom", "--allow-missing"], "phantom: takes no --allow-missing", 2),
        (["nifti", "in", "--modalities", "pet"], "", 2),
    ],
)
def test_prepare_refuses_in_one_line(tmp_path, monkeypatch, arguments, says, code):
    import nibabel as nib

    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path)
    if "pet" in arguments:
        nib.save(nib.Nifti1Image(np.ones((8, 8, 8), np.int16), np.eye(4)), tmp_path / "in/a.nii")
    assert says in refused(prepare, *arguments, "--out", "store", code=code)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_wrong_use_is_exit_code_2(tmp_path):
    assert CliRunner().invoke(prepare, ["dicom-of-mars"]).exit_code == 2
    assert CliRunner().invoke(train, []).exit_code == 2


def test_debug_shows_the_traceback(tmp_path):
    result = CliRunner().invoke(train, ["no-such-recipe", "--data", str(tmp_path), "--debug"])
    assert type(result.exception).__name__ == "RecipeError"


def test_ctrl_c_while_preparing_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    write_mat(tmp_path / "in" / "1.mat")
    monkeypatch.setattr("toolkit.data.store_writer.StoreWriter.add", interrupt)
    assert "stopped" in refused(prepare, "figshare", tmp_path / "in", "--out", tmp_path / "store")
    assert not (tmp_path / "store").exists()


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("stores") / "phantom"
    assert CliRunner().invoke(prepare, ["phantom", "--out", str(out), "--patients", "6", "--size", "32"]).exit_code == 0
    return out


def stopped_training(store: Path, run: Path) -> None:
    """A network whose graph is quickly made says that it was stopped."""
    plain = ("model.network=unet", "model.filters=2", "model.enhancer.kind=none")
    settings = [word for value in plain for word in ("--set", value)]
    line = refused(train, "tiny", "--data", store, "--out", run, *settings)
    assert line == f"error: {run}: stopped after 0 finished epochs; go on with --resume"


def test_a_ctrl_c_that_got_lost_in_training_stops_it_all_the_same(tmp_path, monkeypatch, lose_ctrl_c, store):
    batches = []

    def lose(*_args, **_kwargs):
        batches.append(1)
        lose_ctrl_c()

    monkeypatch.setattr("toolkit.training.callbacks.Progress.on_train_batch_end", lose)
    stopped_training(store, tmp_path / "run")
    assert len(batches) == 1


def test_a_ctrl_c_of_which_a_library_made_another_error_is_told_as_what_it_was(
    tmp_path, monkeypatch, lose_ctrl_c, store
):
    def fit(*_args, **_kwargs):
        lose_ctrl_c()
        raise SystemError("bad argument to internal function")

    monkeypatch.setattr("keras.Model.fit", fit)
    stopped_training(store, tmp_path / "run")


SPEAKS_AT_ITS_END = """
import os
from cli.app import one_line_errors, single_command
from toolkit.errors import ToolkitError

class Library:
    def __del__(self, write=os.write):
        write(2, b"W0000 interpreter state is not initialised")

def command() -> None:
    with one_line_errors(debug=False):
        command.kept = Library()
        raise ToolkitError("told")

single_command(command)()
"""


def test_what_libraries_say_while_the_process_ends_is_not_shown():
    done = subprocess.run([sys.executable, "-c", SPEAKS_AT_ITS_END], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "error: told\n")
