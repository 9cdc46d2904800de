"""From a store to batches: the same again under a seed, image and truth together, every slice weighed once."""

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from toolkit.config import AugmentationRecipe, load_recipe
from toolkit.data.intensity import intensity_range, normalise
from toolkit.data.pipeline import WindowSet, augment_window, training_batches, validation_batches
from toolkit.errors import StoreError

SIZE = 32  # of the fixture's slices, so that nothing is resized


def recipe(*overrides):
    return load_recipe("tiny", [f"data.image_size={SIZE}", *overrides])


@pytest.fixture
def store(make_store):
    return make_store()


@pytest.fixture
def numbered(monkeypatch):
    """Windows that carry their epoch and number instead of pictures."""

    def load(self, epoch, number):
        n_slices, size = self.recipe.data.window.slices, self.recipe.data.image_size
        picture = np.ones((n_slices, size, size, 1), np.float32)
        return picture * np.float32(number), picture * np.float32(epoch), np.ones(n_slices, np.float32)

    monkeypatch.setattr(WindowSet, "load", load)


def take(dataset, n_batches):
    return [
        (inputs["slices"].numpy(), truth["probability"].numpy(), weights["probability"].numpy())
        for inputs, truth, weights in islice(dataset, n_batches)
    ]


def same(one, other):
    assert len(one) == len(other) > 0
    return all(np.array_equal(a, b) for pair in zip(one, other, strict=True) for a, b in zip(*pair, strict=True))


# Order


def test_an_epoch_has_every_window_and_its_last_batch_is_full(store, numbered):
    mine = recipe("data.batch_windows=7")
    n_windows = len(WindowSet(store, "train", mine, augment=True))
    assert n_windows % 7, "or there would be nothing to fill"
    dataset, steps = training_batches(store, mine)
    assert steps == -(-n_windows // 7)
    for epoch in range(2):
        batches = take(dataset.skip(epoch * steps), steps)
        numbers = [int(number) for slices, _, _ in batches for number in slices[:, 0, 0, 0, 0]]
        assert {len(slices) for slices, _, _ in batches} == {7}
        assert sorted(numbers[:n_windows]) == list(range(n_windows))
        assert numbers[n_windows:] == numbers[: 7 * steps - n_windows]
        assert {truth.min() for _, truth, _ in batches} == {truth.max() for _, truth, _ in batches} == {epoch}


def test_every_epoch_has_an_order_of_its_own_across_all_cases(store, numbered):
    mine = recipe("data.batch_windows=1")
    window_set = WindowSet(store, "train", mine, augment=True)
    dataset, steps = training_batches(store, mine)
    numbers = [int(slices[0, 0, 0, 0, 0]) for slices, _, _ in take(dataset, 2 * steps)]
    assert numbers[:steps] != numbers[steps:]
    cases = [window_set.windows[number][0].case.case for number in numbers[:steps]]
    neighbours = sum(before == after for before, after in pairwise(cases))
    assert neighbours < 0.25 * steps, "windows of one case follow one another"


def test_a_set_smaller_than_a_batch_fills_it(make_store, make_case, numbered):
    dataset, steps = training_batches(make_store([make_case(n_slices=6)]), recipe("data.batch_windows=5"))
    ((slices, _, _),) = take(dataset, 1)
    assert steps == 1
    assert len(slices) == 5
    assert set(slices[:, 0, 0, 0, 0]) == {0, 1}


# Randomness


def test_the_seed_decides_everything(store):
    dataset, steps = training_batches(store, recipe("seed=5"))
    first = take(dataset, 2 * steps)
    assert same(first, take(dataset, 2 * steps))
    assert same(first, take(training_batches(store, recipe("seed=5"))[0], 2 * steps))
    assert not same(first, take(training_batches(store, recipe("seed=6"))[0], 2 * steps))


def test_an_epoch_after_a_resume_is_the_epoch_of_one_go(store):
    mine = recipe("augmentation.probability=1")
    dataset, steps = training_batches(store, mine)
    one_go = take(dataset, 3 * steps)
    for epoch in (1, 2):
        resumed = take(training_batches(store, mine, first_epoch=epoch)[0], steps)
        assert same(resumed, one_go[epoch * steps : (epoch + 1) * steps])
    assert not same(one_go[:steps], one_go[steps : 2 * steps])


def test_a_window_changes_from_epoch_to_epoch(store):
    window_set = WindowSet(store, "train", recipe("augmentation.probability=1"), augment=True)
    here, there = window_set.load(0, 3), window_set.load(1, 3)
    assert not np.array_equal(here[0], there[0])
    assert np.array_equal(here[0], window_set.load(0, 3)[0])


# Image and truth


def drawing():
    """`(4, 64, 64, 1)`: an outline without any symmetry, the same on each slice."""
    picture = np.zeros((64, 64), np.float32)
    picture[14:44, 20:40] = 1
    picture[30:52, 36:50] = 1
    return np.broadcast_to(picture[None, ..., None], (4, 64, 64, 1)).copy()


SPATIAL_ONLY = AugmentationRecipe(probability=1, gamma=0, brightness=0, noise=0, bias_field=0)


def test_image_and_mask_move_alike():
    """An image that is its own mask must still be so afterwards, but for the rim."""
    moved = 0
    for seed in range(40):
        image, mask = augment_window(np.random.default_rng(seed), SPATIAL_ONLY, drawing(), drawing())
        image, mask = image[0, ..., 0] > 0.5, mask[0, ..., 0] > 0.5
        assert 2 * (image & mask).sum() / (image.sum() + mask.sum()) > 0.95
        rim = binary_dilation(mask, iterations=1) & ~binary_erosion(mask, iterations=1)
        assert not ((image != mask) & ~rim).any()
        moved += 2 * (mask & (drawing()[0, ..., 0] > 0)).sum() / (mask.sum() + drawing()[0].sum()) < 0.9
    assert moved > 30, "too little movement to prove anything"


def test_all_slices_of_a_window_move_alike():
    for seed in range(10):
        for result in augment_window(np.random.default_rng(seed), SPATIAL_ONLY, drawing(), drawing()):
            assert (result == result[:1]).all()


def test_intensity_changes_never_touch_the_mask():
    still = {"rotation_degrees": 0, "flip": False, "zoom": 0, "shift": 0, "elastic_pixels": 0}
    for seed in range(10):
        image, mask = augment_window(
            np.random.default_rng(seed), AugmentationRecipe(probability=1, **still), drawing(), drawing()
        )
        assert (mask == drawing()).all()
        assert not np.array_equal(image, drawing())


@pytest.mark.parametrize(("probability", "least", "most"), [(0, 0, 0), (0.5, 30, 70), (1, 100, 100)])
def test_so_many_windows_are_changed_at_all(probability, least, most):
    mine = AugmentationRecipe(probability=probability)
    results = [augment_window(np.random.default_rng(seed), mine, drawing(), drawing())[0] for seed in range(100)]
    assert least <= sum(not np.array_equal(result, drawing()) for result in results) <= most


def test_truth_stays_0_and_1_and_images_within_their_range(store):
    dataset, steps = training_batches(store, recipe("augmentation.probability=1"))
    for slices, truth, weights in take(dataset, steps):
        assert slices.shape == truth.shape == (2, 4, SIZE, SIZE, 1)
        assert weights.shape == (2, 4)
        assert slices.dtype == truth.dtype == weights.dtype == np.float32
        assert set(np.unique(truth)) <= {0, 1}
        assert slices.min() >= 0
        assert slices.max() <= 1.5


def test_unchanged_windows_are_the_normalised_slices_of_the_store(store):
    window_set = WindowSet(store, "val", recipe(), augment=False)
    for number, (span, _grid, window) in enumerate(window_set.windows):
        slices, truth, _ = window_set.load(0, number)
        images, mask = store.read(span.case, window.slices)
        assert (slices == normalise(images, np.array(span.case.intensity_range))).all()
        assert (truth[..., 0] == mask).all()


def test_shuffled_windows_hold_slices_and_truth_of_the_same_places(store):
    mine = recipe("data.window.shuffled=true")
    for number, (span, _grid, window) in enumerate(WindowSet(store, "val", mine, augment=False).windows):
        slices, truth, _ = WindowSet(store, "val", mine, augment=False).load(0, number)
        images, mask = store.read(span.case, window.slices)
        assert (slices == normalise(images, np.array(span.case.intensity_range))).all()
        assert (truth[..., 0] == mask).all()


def test_an_enhancer_learns_to_get_the_undamaged_slices_back(store):
    mine, plain = recipe("task=enhance", "augmentation.probability=0"), recipe("augmentation.probability=0")
    damaged, clean, _ = WindowSet(store, "train", mine, augment=True).load(0, 0)
    np.testing.assert_array_equal(clean, WindowSet(store, "train", plain, augment=True).load(0, 0)[0])
    assert damaged.shape == clean.shape
    assert any(not np.array_equal(*WindowSet(store, "train", mine, augment=True).load(e, 0)[:2]) for e in range(3))
    (inputs, targets, counted) = next(iter(validation_batches(store, mine)))
    assert set(targets) == set(counted) == {"enhanced"}
    assert targets["enhanced"].shape == inputs["slices"].shape


def test_a_gain_alone_learns_to_even_out_and_nothing_else(store):
    damage = {"probability": 1, "noise": 0, "blur": "false", "dropped": "false"}
    values = (
        "task=enhance",
        "augmentation.probability=0",
        *(f"pretraining.degradation.{k}={v}" for k, v in damage.items()),
    )

    def load(*more):
        return WindowSet(store, "train", recipe(*values, *more), augment=True).load(0, 0)[:2]

    clean = load()[1]
    uneven, evened = load("model.enhancer.parts=gain", "pretraining.degradation.ghosting=0")
    np.testing.assert_allclose(evened, clean, atol=1e-6)
    assert np.abs(uneven - clean).max() > 0.05
    # What a gain can't undo is left in what it learns from.
    ghosts = load("model.enhancer.parts=gain")[1]
    assert np.abs(ghosts - clean).max() > 0.01


def test_an_enhancer_may_learn_from_squares_as_many_as_fit_into_the_slices(store):
    values = ("task=enhance", "augmentation.probability=0", "pretraining.degradation.noise=0.1")
    whole, mine = recipe(*values), recipe(*values, "pretraining.crop=16")
    everything, squares = (WindowSet(store, "train", each, augment=True) for each in (whole, mine))
    assert len(squares) == 4 * len(everything)
    n_windows = len(everything)
    of_one_window = [squares.load(0, number) for number in range(0, len(squares), n_windows)]
    clean = everything.load(0, 0)[1]
    for damaged, square, weights in of_one_window:
        assert damaged.shape == square.shape == (*clean.shape[:1], 16, 16, *clean.shape[3:])
        assert weights.shape == clean.shape[:1]
        places = np.lib.stride_tricks.sliding_window_view(clean, (16, 16), axis=(1, 2))
        same = (places == square[:, None, None].transpose(0, 1, 2, 5, 3, 4)).all(axis=(0, 3, 4, 5))
        assert same.any()
        assert not np.array_equal(damaged, square)
    assert len({square.tobytes() for _, square, _ in of_one_window}) > 1
    (inputs, targets, _) = next(iter(training_batches(store, mine)[0]))
    assert inputs["slices"].shape == targets["enhanced"].shape == (mine.data.batch_windows, *of_one_window[0][0].shape)


def test_validation_windows_are_damaged_alike_in_every_pass(store):
    mine = recipe("task=enhance")
    one, other = (list(validation_batches(store, mine)) for _ in range(2))
    assert all(np.array_equal(a[0]["slices"], b[0]["slices"]) for a, b in zip(one, other, strict=True))


def test_regions_get_a_channel_each_and_may_overlap(make_store, make_case):
    case = make_case()
    case.mask[3] *= 3
    mine = recipe("model.regions={whole: [1, 2, 3], core: [1, 3], enhancing: [3]}")
    truth = WindowSet(make_store([case]), "train", mine, augment=False).load(0, 0)[1]
    assert truth.shape == (4, SIZE, SIZE, 3)
    assert truth.sum(axis=(1, 2)).astype(int).tolist() == [[0, 0, 0], [96, 96, 0], [96, 96, 0], [96, 96, 96]]


def test_a_recipe_in_mm_resamples_slices_and_truth_alike(make_store, make_case):
    case = make_case(n_slices=4, spacing_mm=(2.0, 1.0, 1.0))
    mine = recipe("data.spacing_mm=[1.0, 1.0, 1.0]")
    window_set = WindowSet(make_store([case]), "train", mine, augment=False)
    assert len(window_set) == 3  # 8 slices of 1 mm in windows of 4 with a halo of 1
    slices, truth, _ = window_set.load(0, 0)
    first, second = normalise(case.images[:2], intensity_range(case.images))
    assert np.abs(slices - [first, 0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second, slices[3]]).max() < 1e-5
    # The tumour begins in the second slice: from the third millimetre on it has at least half.
    assert truth.any(axis=(1, 2, 3)).tolist() == [False, False, True, True]


def test_a_recipe_in_mm_refuses_a_store_without_spacing(make_store, make_case):
    with pytest.raises(StoreError, match=r"case p1-a: its spacing is unknown.*--spacing to bts-prepare"):
        WindowSet(make_store([make_case()]), "train", recipe("data.spacing_mm=[1.0, 1.0, 1.0]"), augment=False)


def test_modalities_drop_out_in_training_only(make_store, make_case):
    case = make_case(modalities=2)
    mine = recipe("augmentation.modality_dropout=0.5")
    store = make_store([case])
    seen = Counter()
    for epoch in range(60):
        slices = WindowSet(store, "train", mine, augment=True).load(epoch, 0)[0]
        seen[tuple(slices.any(axis=(0, 1, 2)).tolist())] += 1
    assert (False, False) not in seen
    assert set(seen) == {(True, True), (True, False), (False, True)}
    assert min(seen.values()) > 5
    assert WindowSet(store, "train", mine, augment=False).load(0, 0)[0].any(axis=(0, 1, 2)).all()


# Weights


def test_training_learns_from_every_real_slice_and_no_repeat(store):
    window_set = WindowSet(store, "train", recipe(), augment=True)
    short = 0
    for number, (span, _grid, _window) in enumerate(window_set.windows):
        weights = window_set.load(0, number)[2]
        assert weights.tolist() == [1.0] * min(4, span.n_slices) + [0.0] * max(0, 4 - span.n_slices)
        short += span.n_slices < 4
    assert short, "the fixture has no case shorter than a window"


@pytest.mark.parametrize("rule", ["{slices: 4, halo: 1}", "{slices: 5, halo: 2}", "{slices: 3, halo: 0}"])
def test_validation_counts_every_slice_exactly_once(store, rule):
    mine = recipe(f"data.window={rule}")
    times = Counter()
    window_set = WindowSet(store, "val", mine, augment=False)
    for number, (span, _grid, window) in enumerate(window_set.windows):
        weights = window_set.load(0, number)[2]
        times.update((span.case.case, int(s)) for s, weight in zip(window.slices, weights, strict=True) if weight)
    records = [span.case for span in store.spans("by_patient", "val")]
    assert times == {(record.case, index): 1 for record in records for index in range(record.shape[0])}

    batches = take(validation_batches(store, mine), None)
    assert sum(weights.sum() for _, _, weights in batches) == len(times)
    weighed = sum((truth[..., 0].sum((2, 3)) * weights).sum() for _, truth, weights in batches)
    assert weighed == sum(sum(record.tumour_pixels) for record in records)


def test_validation_is_the_same_every_time_and_nothing_is_changed(store):
    loud = recipe("augmentation.probability=1", "augmentation.noise=0.5")
    assert same(take(validation_batches(store, loud), None), take(validation_batches(store, recipe()), None))


# Splits


def test_each_part_holds_the_windows_of_its_own_patients(store):
    for split in ("by_patient", "folds"):
        patients = [
            {span.case.patient for span, *_ in WindowSet(store, part, recipe(f"data.split={split}"), False).windows}
            for part in ("train", "val")
        ]
        assert not patients[0] & patients[1]


def test_the_fold_of_the_recipe_validates(store):
    for fold in range(5):
        mine = recipe("data.split=folds", f"data.fold={fold}")
        patients = {span.case.patient for span, *_ in WindowSet(store, "val", mine, augment=False).windows}
        assert patients == set(store.index.splits.folds[fold])


def test_single_slices_of_the_leaking_split_are_the_right_ones(store):
    window_set = WindowSet(store, "val", recipe("data.split=by_slice_leaking"), augment=False)
    for number, (span, _grid, _window) in enumerate(window_set.windows):
        slices, _, weights = window_set.load(0, number)
        image = normalise(store.read(span.case, [span.start])[0], np.array(span.case.intensity_range))
        assert (slices == image).all()
        assert weights.tolist() == [1, 0, 0, 0]
