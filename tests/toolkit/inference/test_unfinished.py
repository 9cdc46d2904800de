"""What a broken-off run has found out is used again, and only where it still holds."""

from dataclasses import fields

import numpy as np
import pytest

from tests.small_models import small_info
from toolkit.inference.answer import Answer
from toolkit.inference.unfinished import FOLDER, Unfinished

CHECKSUMS = {"scan.nii.gz": "ab", "scan_t1.nii.gz": "cd"}
MASK = np.eye(4, dtype=np.uint8)[None]
ANSWER = Answer(MASK, np.array([0.75], np.float32), 0.123456789, MASK * 200)
FULL = Answer(
    MASK, np.array([0.75], np.float32), 0.5, MASK, MASK + 1, MASK + 2, MASK + 3, np.ones((1, 4, 4, 2), np.float32)
)


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


@pytest.mark.parametrize("answer", [ANSWER, FULL], ids=["what every model says", "with every map"])
def test_nothing_of_an_answer_is_lost_and_what_is_not_there_stays_so(kept, answer):
    kept.keep(CHECKSUMS, answer)
    again = kept.find(CHECKSUMS)
    for field in fields(Answer):
        before, after = getattr(answer, field.name), getattr(again, field.name)
        assert type(before) is type(after), field.name
        np.testing.assert_array_equal(before, after)
        assert before is None or np.asarray(before).dtype == np.asarray(after).dtype


def test_another_scan_another_model_or_other_settings_know_nothing_of_it(kept, tmp_path):
    assert kept.find(CHECKSUMS | {"scan.nii.gz": "changed"}) is None
    assert Unfinished(tmp_path, small_info(threshold=0.4), "model.keras").find(CHECKSUMS) is None
    assert Unfinished(tmp_path, small_info(), "model.keras (2.0, 1.0, 1.0)").find(CHECKSUMS) is None


def test_a_damaged_answer_is_asked_for_again(kept, tmp_path):
    (file,) = (tmp_path / FOLDER).iterdir()
    whole = file.read_bytes()
    # Cut short; with bytes of its middle changed; of another kind, and of an earlier version.
    for damage in (whole[:100], whole[:60] + bytes(20) + whole[80:], b"", b"\x80\x04."):
        file.write_bytes(damage)
        assert kept.find(CHECKSUMS) is None
    np.savez_compressed(file, mask=MASK, highest_probability=np.ones(1))
    assert kept.find(CHECKSUMS) is None


def test_a_finished_run_leaves_nothing(kept, tmp_path):
    kept.clear()
    kept.clear()
    assert not list(tmp_path.iterdir())
