"""`dataset.json` of the Decathlon says what the files are; it is a stranger's file, too."""

import json

import nibabel as nib
import numpy as np
import pytest

from toolkit.data.integrity import IntegrityGate
from toolkit.data.sources.decathlon import is_decathlon, open_decathlon
from toolkit.errors import SourceError

AFFINE = np.diag([-1.0, -1.0, 3.0, 1.0])
IMAGE = np.random.default_rng(0).integers(1, 900, (10, 8, 6, 4)).astype(np.float32)
TRUTH = (np.arange(480).reshape(10, 8, 6) % 4).astype(np.uint8)
INDEX = {
    "name": "BRATS",
    "tensorImageSize": "4D",
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
    "numTraining": 1,
    "training": [{"image": "./imagesTr/BRATS_457.nii.gz", "label": "./labelsTr/BRATS_457.nii.gz"}],
    "test": ["./imagesTs/BRATS_485.nii.gz"],
}


@pytest.fixture
def task(tmp_path):
    """Writes a task; a callable changes what `dataset.json` says."""

    def write(change=lambda index: None, image=IMAGE):
        index = json.loads(json.dumps(INDEX))
        change(index)
        for folder, data in (("imagesTr", image), ("labelsTr", TRUTH)):
            (tmp_path / folder).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(data, AFFINE), tmp_path / folder / "BRATS_457.nii.gz")
        (tmp_path / "dataset.json").write_text(json.dumps(index))
        return tmp_path

    return write


def test_a_task_is_read_as_its_index_says(task):
    folder, gate = task(), IntegrityGate()
    assert is_decathlon(folder)
    source = open_decathlon(folder, gate, None)
    (case,) = source.cases
    assert gate.findings == []
    assert source.label_map == {"background": 0, "oedema": 1, "non_enhancing_tumor": 2, "enhancing_tumour": 3}
    assert (case.patient, case.modalities) == ("BRATS_457", ("t2f", "t1n", "t1c", "t2w"))
    np.testing.assert_array_equal(case.images, IMAGE.transpose(2, 1, 0, 3))
    np.testing.assert_array_equal(case.mask, TRUTH.transpose(2, 1, 0))
    assert len(source.files) == 2


def test_an_image_of_fewer_volumes_than_modalities_is_left_out_and_named(task):
    gate = IntegrityGate()
    assert list(open_decathlon(task(image=IMAGE[..., :3]), gate, None).cases) == []
    (finding,) = gate.findings
    assert "holds 3 volumes where 4 are needed" in finding.message
    assert finding.file.endswith("BRATS_457.nii.gz")


def name_image(name):
    return lambda index: index["training"][0].update(image=name)


@pytest.mark.parametrize(
    "change",
    [
        name_image("../../etc/passwd.nii.gz"),
        name_image("/etc/passwd.nii.gz"),
        name_image("imagesTr/../../secret.nii.gz"),
        name_image("a\0b.nii.gz"),
        name_image("x" * 2000),
        name_image(7),
        lambda index: index.update(training=[]),
        lambda index: index.update(training="all"),
        lambda index: index.pop("labels"),
        lambda index: index["labels"].update({"999": "beyond"}),
        lambda index: index["modality"].update({"4": "t1gd"}),
        lambda index: index.update(modality={"first": "FLAIR"}),
    ],
)
def test_an_index_that_lies_or_leads_out_of_the_folder_is_refused_in_one_line(task, change):
    folder = task(change)
    with pytest.raises(SourceError) as caught:
        open_decathlon(folder, IntegrityGate(), None)
    assert str(caught.value).startswith(str(folder / "dataset.json"))
    assert "\n" not in str(caught.value)


def test_a_link_that_leads_out_of_the_folder_is_refused(task, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.nii.gz"
    nib.save(nib.Nifti1Image(IMAGE, AFFINE), outside)
    folder = task(name_image("imagesTr/link.nii.gz"))
    (folder / "imagesTr/link.nii.gz").symlink_to(outside)
    with pytest.raises(SourceError, match="no file inside the folder"):
        open_decathlon(folder, IntegrityGate(), None)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\xff", '{"modality": 1}'])
def test_an_index_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "dataset.json").write_text(text, encoding="latin-1")
    with pytest.raises(SourceError, match=r"dataset\.json"):
        open_decathlon(tmp_path, IntegrityGate(), None)
