"""What a broken-off run has found out is used again, and only where it still holds."""

import numpy as np
import pytest

from tests.small_models import small_info
from toolkit.inference.unfinished import FOLDER, Answer, Unfinished

CHECKSUMS = {"scan.nii.gz": "ab", "scan_t1.nii.gz": "cd"}
ANSWER = Answer(np.eye(4, dtype=np.uint8)[None], np.array([0.75], np.float32))


@pytest.fixture
def kept(tmp_path):
    unfinished = Unfinished(tmp_path, small_info(), "model.keras")
    unfinished.keep(CHECKSUMS, ANSWER)
    return unfinished


def test_an_answer_is_found_by_the_files_it_is_about(kept, tmp_path):
    again = Unfinished(tmp_path, small_info(), "model.keras").find(dict(reversed(CHECKSUMS.items())))
    np.testing.assert_array_equal(again.mask, ANSWER.mask)
    np.testing.assert_array_equal(again.highest_probability, ANSWER.highest_probability)
    assert again.mask.dtype == np.uint8


def test_another_scan_another_model_or_other_settings_know_nothing_of_it(kept, tmp_path):
    assert kept.find(CHECKSUMS | {"scan.nii.gz": "changed"}) is None
    assert Unfinished(tmp_path, small_info(threshold=0.4), "model.keras").find(CHECKSUMS) is None
    assert Unfinished(tmp_path, small_info(), "model.keras (2.0, 1.0, 1.0)").find(CHECKSUMS) is None


def test_a_damaged_answer_is_asked_for_again(kept, tmp_path):
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert kept.find(CHECKSUMS) is None


def test_a_finished_run_leaves_nothing(kept, tmp_path):
    kept.clear()
    kept.clear()
    assert not list(tmp_path.iterdir())
