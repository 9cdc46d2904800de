"""Who trains and who is tested: nobody is both, and each part has its share of each tumour."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from toolkit.data.splits import (
    N_FOLDS,
    PARTS,
    check_no_leak,
    split_by_patient,
    split_by_slice_leaking,
    split_folds,
)
from toolkit.errors import StoreError

# The patient groups of the whole figshare set, by class.
FIGSHARE = {"meningioma": 82, "glioma": 65, "pituitary": 62}


def groups(sizes):
    return {f"{name}-{index:03d}": name for name, size in sizes.items() for index in range(size)}


def test_every_patient_group_is_in_exactly_one_part():
    classes = groups(FIGSHARE)
    parts = split_by_patient(classes, seed=1)
    assert list(parts) == ["train", "val", "test"]
    assert Counter(chain(*parts.values())) == Counter(dict.fromkeys(classes, 1))


def test_every_patient_group_is_in_exactly_one_fold():
    classes = groups(FIGSHARE)
    folds = split_folds(classes, seed=1)
    assert len(folds) == N_FOLDS
    assert Counter(chain(*folds)) == Counter(dict.fromkeys(classes, 1))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sizes", [FIGSHARE, {"a": 7, "b": 3, "c": 30}, {"a": 4, "b": 4, "c": 4}, {"": 40}])
def test_each_part_has_its_share_of_each_class(sizes, seed):
    """Parts are right to one group; a class within a part to one and a half, for groups can't be cut."""
    classes = groups(sizes)
    parts = split_by_patient(classes, seed)
    shares = [*zip(parts.values(), PARTS.values(), strict=True)]
    shares += [(fold, 1 / N_FOLDS) for fold in split_folds(classes, seed)]
    for part, share in shares:
        assert abs(len(part) - share * len(classes)) < 1
        counted = Counter(classes[group] for group in part)
        for name, size in sizes.items():
            assert abs(counted[name] - share * size) < 1.5


def test_six_patients_are_enough_for_all_three_parts():
    parts = split_by_patient(groups({"a": 2, "b": 2, "c": 2}), seed=1)
    assert {part: len(of) for part, of in parts.items()} == {"train": 4, "val": 1, "test": 1}


def test_the_seed_alone_decides():
    classes = groups(FIGSHARE)
    shuffled = dict(sorted(classes.items(), key=lambda item: hash(item)))
    assert split_by_patient(classes, 3) == split_by_patient(shuffled, 3)
    assert split_by_patient(classes, 3) != split_by_patient(classes, 4)
    assert split_folds(classes, 3) == split_folds(shuffled, 3)
    assert split_folds(classes, 3) != split_folds(classes, 4)


def test_the_leaking_split_deals_every_slice_once_and_does_leak():
    """That is what it is for: most patients of the test part have trained the model, too."""
    slices = [(f"case-{patient}", index) for patient in range(30) for index in range(10)]
    classes = ["abc"[int(case.split("-")[1]) % 3] for case, _ in slices]
    parts = split_by_slice_leaking(slices, classes, seed=1)
    assert Counter(chain(*parts.values())) == Counter(dict.fromkeys(slices, 1))
    assert [len(part) for part in parts.values()] == [210, 45, 45]
    trained, tested = ({case for case, _ in parts[part]} for part in ("train", "test"))
    assert len(tested & trained) > 0.9 * len(tested)
    with pytest.raises(StoreError, match="too good"):
        check_no_leak({part: sorted({case for case, _ in of}) for part, of in parts.items()}, "leaking")


def test_a_split_that_leaks_is_refused_and_the_group_named():
    check_no_leak({"train": ["a", "b"], "val": ["c"], "test": []}, "store")
    with pytest.raises(StoreError, match=r"^stores/x, split s: patient group b is in train and in test"):
        check_no_leak({"train": ["a", "b"], "val": ["c"], "test": ["b"]}, "stores/x, split s")


def test_splits_hold_plain_text():
    """So that they can be written as JSON."""
    parts = split_by_patient(groups({"a": 9}), seed=0)
    assert {type(group) for group in chain(*parts.values())} == {str}
    assert not isinstance(parts["train"][0], np.str_)
