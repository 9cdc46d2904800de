"""What goes into a store comes out of it bit by bit, and a store that could mislead is not opened."""

import hashlib
import json
import re
from itertools import chain

import numpy as np
import pytest

from toolkit.config import check_recipe
from toolkit.data.intensity import normalise
from toolkit.data.sources.phantom import phantom_cases
from toolkit.data.splits import check_no_leak
from toolkit.data.store import Store
from toolkit.data.store_writer import BLOCK_SLICES, StoreWriter
from toolkit.errors import SourceError, StoreError

LONG = 2 * BLOCK_SLICES + 4


@pytest.fixture
def edit(make_store):
    """Changes `dataset.json` of a store by hand, opens the store again and returns the complaint."""

    def edit_and_open(change, store=None):
        path = (store or make_store()).path
        index = json.loads((path / "dataset.json").read_text())
        change(index)
        (path / "dataset.json").write_text(json.dumps(index))
        with pytest.raises(StoreError) as caught:
            Store(path)
        message = str(caught.value)
        assert message.startswith(str(path))
        assert "\n" not in message
        return message

    return edit_and_open


# Several modalities and labels


def test_labels_and_missing_modalities_are_kept(tmp_path, make_case):
    whole, partial = make_case("a", "p1", modalities=2), make_case("b", "p2", modalities=2, present=(True, False))
    whole.mask[2] *= 3
    partial.images[..., 1] = 0
    labels = {"background": 0, "core": 1, "enhancing": 3}
    writer = StoreWriter(tmp_path, "nifti", 1, labels)
    writer.add(whole)
    writer.add(partial)
    writer.finish()
    store = Store(tmp_path)
    assert store.index.label_map == labels
    assert store.index.modalities == ["t1c", "t1n"]
    cases = [store.case(record) for record in store.index.cases]
    assert [case.present for case in cases] == [(True, True), (True, False)]
    assert (cases[0].mask == whole.mask).all()
    # A modality that is missing is normalised to zeros, as modality dropout makes them.
    record = store.index.cases[1]
    assert (normalise(cases[1].images, np.array(record.intensity_range))[..., 1] == 0).all()


# Bit by bit


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "float64"])
def test_slices_come_back_exactly_in_any_order_with_repeats_across_blocks(make_store, make_case, dtype):
    case = make_case(n_slices=LONG, dtype=dtype)
    if np.dtype(dtype).kind != "f":
        info = np.iinfo(dtype)
        case.images[0, 0, :2, 0] = info.min, info.max
    else:
        case.images[0, 0, :2, 0] = 1 / 3, -1e-7
    store = make_store([make_case("other", "p2", seed=9, dtype=dtype), case])
    (record,) = (record for record in store.index.cases if record.case == case.case)
    for order in ([LONG - 1, 0, 7, 8, 7, 0, 15, 16, 3, 3], range(LONG), np.array([5])):
        images, mask = store.read(record, order)
        assert images.dtype == dtype
        assert mask.dtype == np.uint8
        assert (images == case.images[list(order)]).all()
        assert (mask == case.mask[list(order)]).all()


def test_whole_cases_come_back_with_all_that_is_known_of_them(make_store):
    cases = list(phantom_cases(2, seed=3, size=32, slices=9))
    store = make_store(cases)
    assert [record.case for record in store.index.cases] == [case.case for case in cases]
    for case, record in zip(cases, store.index.cases, strict=True):
        back = store.case(record)
        assert (back.images == case.images).all()
        assert (back.mask == case.mask).all()
        assert (back.affine == case.affine).all()
        for name in ("patient", "patient_group", "modalities", "spacing_mm", "plane", "tumour_type", "slice_names"):
            assert getattr(back, name) == getattr(case, name), name
        assert back.synthetic
    assert store.index.synthetic


def test_several_modalities_big_endian_pixels_and_a_case_without_a_mask(make_store, make_case):
    case = make_case()
    images = np.concatenate([case.images, 3 * case.images], axis=-1).astype(">i2")
    unmasked = type(case)(images, None, patient="p", case="c", modalities=("t1c", "flair"))
    store = make_store([unmasked])
    images, mask = store.read(store.index.cases[0], range(5))
    assert (images == unmasked.images).all()
    assert images.dtype.isnative
    assert not mask.any()


def test_a_store_can_be_read_without_the_toolkit(make_store, make_case):
    """By plain tf.data: its shards are TFRecord, its blocks are zlib."""
    import tensorflow as tf

    cases = [make_case(f"c{k}", f"p{k}", n_slices=LONG, seed=k) for k in range(3)]
    store = make_store(cases)
    kinds = {"images": tf.string, "mask": tf.string, "case": tf.string, "start": tf.int64}
    description = {name: tf.io.FixedLenFeature((), kind) for name, kind in kinds.items()}
    seen = []
    for data in tf.data.TFRecordDataset([str(file) for file in sorted(store.path.glob("*.tfrecord"))]):
        record = tf.io.parse_single_example(data, description)
        images = tf.io.decode_raw(tf.io.decode_compressed(record["images"], "ZLIB"), tf.int16)
        images = tf.reshape(images, (-1, 32, 32, 1)).numpy()
        mask = tf.io.decode_raw(tf.io.decode_compressed(record["mask"], "ZLIB"), tf.uint8)
        case, start = cases[int(record["case"].numpy().decode()[1:])], int(record["start"])
        assert (images == case.images[start : start + len(images)]).all()
        assert (mask.numpy() == case.mask[start : start + len(images)].ravel()).all()
        seen.append((case.case, start, len(images)))
    assert seen == [(f"c{k}", start, min(8, LONG - start)) for k in range(3) for start in range(0, LONG, 8)]


def test_large_sets_are_cut_into_several_shards(make_store, make_case, monkeypatch):
    monkeypatch.setattr("toolkit.data.store_writer.SHARD_BYTES", 5000)
    cases = [make_case(f"c{k}", f"p{k}", n_slices=LONG, seed=k) for k in range(4)]
    store = make_store(cases)
    assert len(store.index.sizes_bytes) > 2
    for case, record in zip(cases, store.index.cases, strict=True):
        assert (store.case(record).images == case.images).all()


def test_one_window_reads_only_the_blocks_it_needs(make_store, make_case, monkeypatch):
    store = make_store([make_case(n_slices=10 * BLOCK_SLICES)])
    read = []
    original = Store._read_block
    monkeypatch.setattr(Store, "_read_block", lambda s, r, block: read.append(block.start) or original(s, r, block))
    store.read(store.index.cases[0], range(22, 26))
    assert read == [16, 24]


# What dataset.json says


def test_the_index_is_a_fingerprint_of_the_pixels(make_store, make_case):
    case = make_case(n_slices=9, tumour_type="glioma")
    store = make_store([case])
    (record,) = store.index.cases
    values = case.images.astype(float)
    assert record.shape == case.images.shape
    assert record.percentiles[0] == pytest.approx(np.percentile(values, [1, 25, 50, 75, 99]))
    head = np.sort(values[values > values.mean()])
    low = np.sort(values, axis=None)[int(np.ceil(0.01 * values.size)) - 1]
    assert record.intensity_range[0] == (low, head[int(np.ceil(0.99 * head.size)) - 1])
    assert record.tumour_pixels == [0, 0, 0] + [8 * 12] * 6
    assert store.index.label_map == {"background": 0, "tumour": 1}
    for file in store.path.glob("*.tfrecord"):
        assert store.index.checksums_sha256[file.name] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert store.index.sizes_bytes[file.name] == file.stat().st_size


def test_splits_are_by_patient_stratified_and_seeded(make_store):
    store = make_store()
    patients = {record.patient: record.tumour_type for record in store.index.cases}
    parts = store.index.splits.by_patient
    assert sorted(chain(*parts.values())) == sorted(patients)
    assert {part: len(of) for part, of in parts.items()} == {"train": 8, "val": 2, "test": 2}
    assert {patients[p] for p in parts["train"]} == {"a", "b", "c"}
    assert make_store(folder="again").index.splits == store.index.splits
    assert make_store(folder="other", seed=2).index.splits != store.index.splits


@pytest.mark.parametrize("split", ["by_patient", "folds"])
def test_spans_of_train_and_val_share_no_patient(make_store, split):
    store = make_store()
    trained, validated = (store.spans(split, part, fold=2) for part in ("train", "val"))
    assert not {s.case.patient for s in trained} & {s.case.patient for s in validated}
    assert all((span.start, span.stop) == (0, span.case.shape[0]) for span in trained + validated)
    tested = store.spans(split, "test") if split == "by_patient" else []
    assert len(trained + validated + tested) == len(store.index.cases)


def test_each_patient_validates_in_one_fold(make_store):
    store = make_store()
    times = [span.case.case for fold in range(5) for span in store.spans("folds", "val", fold)]
    assert sorted(times) == sorted(record.case for record in store.index.cases)


def test_the_leaking_split_deals_slices_of_the_same_patient_to_both_sides(make_store):
    store = make_store()
    spans = {part: store.spans("by_slice_leaking", part) for part in ("train", "val", "test")}
    slices = [(s.case.case, s.start) for part in spans.values() for s in part]
    assert all(span.n_slices == 1 for part in spans.values() for span in part)
    assert len(set(slices)) == len(slices) == sum(record.shape[0] for record in store.index.cases)
    parts = {part: sorted({span.case.patient for span in of}) for part, of in spans.items()}
    with pytest.raises(StoreError):
        check_no_leak(parts, "leaking")


def test_a_recipe_may_learn_from_some_patients_drawn_by_its_seed(make_store):
    store = make_store()

    def groups(part, number, seed=1):
        recipe = check_recipe({"seed": seed, "data": {"training_patients": number}}, "test")
        return {span.case.patient_group for span in store.spans_of(recipe, part)}

    everyone = groups("train", 0)
    some = groups("train", 2)
    assert len(some) == 2
    assert some < everyone
    assert some == groups("train", 2)
    assert len({frozenset(groups("train", 2, seed)) for seed in range(10)}) > 1
    assert groups("train", 2) < groups("train", 3), "more patients are those before and others"
    assert groups("val", 2) == groups("val", 0)
    with pytest.raises(StoreError, match=f"asks for {len(everyone) + 1} patient groups, .* has {len(everyone)};"):
        groups("train", len(everyone) + 1)


def test_patients_that_are_left_out_are_not_learned_from_and_nothing_else_changes(make_store):
    store = make_store()

    def groups(part, *left_out, number=0):
        data = {"left_out_patients": left_out, "training_patients": number}
        return {span.case.patient_group for span in store.spans_of(check_recipe({"data": data}, "test"), part)}

    everyone, judged = groups("train"), groups("val")
    one, other = sorted(everyone)[:2]
    assert groups("train", one) == everyone - {one}
    assert groups("train", one, min(judged)) == everyone - {one}
    assert groups("val", one, min(judged)) == judged
    assert groups("train", one, other, number=len(everyone) - 2) == everyone - {one, other}
    with pytest.raises(StoreError, match="asks for"):
        groups("train", one, number=len(everyone))
    with pytest.raises(StoreError, match="names nobody, a patient group it has not"):
        groups("train", one, "nobody")
    with pytest.raises(StoreError, match="leaves no patient to learn from"):
        groups("train", *everyone)


def test_a_number_is_a_patients_name_too():
    assert check_recipe({"data": {"left_out_patients": [99308]}}, "test").data.left_out_patients == ("99308",)


def test_a_part_with_nothing_in_it_is_said_so(make_store, make_case):
    store = make_store([make_case()])
    assert store.spans("by_patient", "train")
    with pytest.raises(StoreError, match="nothing in 'val'"):
        store.spans("by_patient", "val")


# Refused: leaks


def test_a_patient_group_in_two_parts_is_refused(edit):
    def leak(index):
        parts = index["splits"]["by_patient"]
        parts["val"].append(parts["train"][0])

    assert re.search(r"split by_patient: patient group p\d\d is in train and in val", edit(leak))


def test_a_patient_group_in_two_folds_is_refused(edit):
    def leak(index):
        index["splits"]["folds"][3].append(index["splits"]["folds"][1][0])

    assert "is in fold 1 and in fold 3" in edit(leak)


def test_a_patient_under_two_groups_is_refused(edit):
    """Each group is in one part only, and still the patient would be in two."""

    def rename(index):
        case = next(c for c in index["cases"] if c["patient"] == index["splits"]["by_patient"]["train"][0])
        case["patient_group"] = "somebody-else"
        index["splits"]["by_patient"]["val"].append("somebody-else")
        index["splits"]["folds"][0].append("somebody-else")

    assert "is in two patient groups" in edit(rename)


def test_figshare_patients_of_one_stem_in_two_groups_are_refused(edit, make_store, make_case):
    """MR7 and MR7B may be one person; a store that has not grouped them could leak."""
    cases = [make_case(p, p, seed=k, patient_group=p.rstrip("B")) for k, p in enumerate(["MR7", "MR7B", "MR8", "MR9"])]
    store = make_store(cases, kind="figshare")

    def ungroup(index):
        index["cases"][1]["patient_group"] = "MR7B"
        index["splits"]["by_patient"]["test"].append("MR7B")
        index["splits"]["folds"][4].append("MR7B")

    assert "patient MR7B is not in the group of its stem" in edit(ungroup, store)


@pytest.mark.parametrize("split", ["by_patient", "folds"])
def test_a_split_that_does_not_list_its_patients_is_refused(edit, split):
    def drop(index):
        parts = index["splits"][split]
        (parts["train"] if split == "by_patient" else parts[0]).pop()

    assert f"split {split} does not list" in edit(drop)


# Refused: damage


def test_a_missing_shard_is_refused(edit, make_store):
    store = make_store()
    shard = next(store.path.glob("*.tfrecord"))
    shard.unlink()
    assert f"{shard}: shard is missing" in edit(lambda index: None, store)


def test_a_short_shard_is_refused(edit, make_store):
    store = make_store()
    shard = next(store.path.glob("*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert f"{shard}: shard is missing or not whole" in edit(lambda index: None, store)


@pytest.mark.parametrize("name", ["../secret.tfrecord", "/etc/passwd", "a/b.tfrecord", "x.tfrecord\n"])
def test_a_shard_elsewhere_is_refused(edit, name):
    def point_away(index):
        index["cases"][0]["blocks"][0]["shard"] = name

    assert "cases.0.blocks.0.shard" in edit(point_away)


def test_a_size_for_a_file_elsewhere_is_refused(edit, tmp_path):
    (tmp_path / "secret").write_bytes(b"12345")
    assert "shard is missing" in edit(lambda index: index["sizes_bytes"].update({"../secret": 5}))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda index: index.update(colour="red"), "colour"),
        (lambda index: index.update(format=2), "format"),
        (lambda index: index.pop("seed"), "seed"),
        (lambda index: index["cases"][0].update(note="x"), "cases.0.note"),
        (lambda index: index["cases"][0].update(dtype="object"), "cases.0.dtype"),
        (lambda index: index["cases"][0]["blocks"][0].update(length=2**40), "cases.0.blocks.0.length"),
        (lambda index: index["splits"]["by_slice_leaking"]["val"].append(["nobody", 0]), "by_slice_leaking"),
        (lambda index: index["splits"]["by_patient"].update(extra=[]), "splits are not complete"),
        (lambda index: index["splits"]["folds"].append([]), "splits are not complete"),
    ],
)
def test_an_index_that_says_something_else_is_refused(edit, change, named):
    assert named in edit(change)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_an_index_that_is_no_json_object_is_refused(make_store, content):
    store = make_store()
    (store.path / "dataset.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"dataset\.json: damaged"):
        Store(store.path)


def test_a_folder_without_a_store_says_how_to_make_one(tmp_path):
    with pytest.raises(StoreError, match="make one with bts-prepare"):
        Store(tmp_path)


def test_a_flipped_bit_is_an_error_and_never_a_wrong_pixel(make_store, make_case):
    case = make_case(n_slices=3, shape=(16, 16))
    store = make_store([case])
    (record,) = store.index.cases
    shard = next(store.path.glob("*.tfrecord"))
    whole, complaints = shard.read_bytes(), []
    for position in range(12, len(whole) - 4):
        shard.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        try:
            images, mask = store.read(record, range(3))
            assert (images == case.images).all(), f"byte {position}"
            assert (mask == case.mask).all(), f"byte {position}"
        except StoreError as error:
            complaints.append(str(error))
    assert len(complaints) > 0.9 * (len(whole) - 16)
    assert set(complaints) == {f"{shard}: block at byte 0 is damaged; prepare the store again"}


def test_a_block_of_the_wrong_size_is_damaged(make_store):
    store = make_store()
    record = store.index.cases[0]
    for shape in ((*record.shape[:3], 2), (record.shape[0], 16, *record.shape[2:])):
        other = record.model_copy(update={"shape": shape})
        with pytest.raises(StoreError, match="is damaged"):
            store.read(other, range(2))


@pytest.mark.parametrize("index", [-1, 5, 10**6])
def test_a_slice_that_is_not_there_is_not_made_up(make_store, make_case, index):
    store = make_store([make_case(n_slices=5)])
    with pytest.raises(StoreError, match=f"has no slice {index}"):
        store.read(store.index.cases[0], np.array([0, index]))


# Refused: writing


def test_what_can_not_be_stored_is_refused(tmp_path, make_case):
    writer = StoreWriter(tmp_path, "phantom", seed=1)
    with pytest.raises(SourceError, match="nothing to store"):
        writer.finish()
    with pytest.raises(SourceError, match="complex64"):
        writer.add(make_case(dtype=np.complex64))
    writer.add(make_case())
    other = make_case("c2")
    with pytest.raises(SourceError, match="modalities"):
        writer.add(type(other)(other.images, other.mask, patient="p", case="c2", modalities=("flair",)))


def test_folds_have_no_test_part_and_say_so(make_store):
    with pytest.raises(StoreError, match="folds have no test part"):
        make_store().spans("folds", "test")


def test_verify_finds_a_changed_byte_that_size_alone_does_not_show(make_store):
    store = make_store()
    store.verify()
    shard = store.path / store.index.cases[0].blocks[0].shard
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    with pytest.raises(StoreError, match=rf"{shard.name}: shard is damaged \(checksum\)"):
        Store(store.path).verify()
