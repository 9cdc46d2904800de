from __future__ import annotations

from types import SimpleNamespace

import pytest

from toolkit.config import ModelRecipe
from toolkit.errors import StoreError
from toolkit.workflows.evaluate import refuse_other_data, refuse_training_patients


def model_of(store, part="train", **more):
    groups = {span.case.patient_group for span in store.spans("by_patient", part)}
    known = {"data_kind": store.index.kind, "data_checksums_sha256": store.index.checksums_sha256}
    info = SimpleNamespace(**{**known, "training_patient_groups": tuple(groups), **more})
    return SimpleNamespace(info=info, name="best.keras")


def test_a_model_is_judged_on_patients_it_has_not_learned_from(make_store):
    store = make_store(kind="figshare")
    refuse_training_patients(model_of(store), store, store.spans("by_patient", "val"))


def test_the_same_scans_split_again_with_another_seed_are_refused(make_store):
    first, again = make_store(kind="figshare"), make_store(kind="figshare", folder="again", seed=2)
    assert first.index.checksums_sha256 == again.index.checksums_sha256
    assert first.index.splits != again.index.splits
    with pytest.raises(StoreError, match=r"has learned from patient group p\d\d"):
        refuse_training_patients(model_of(first), again, again.spans("by_patient", "val"))


def test_patients_of_another_kind_of_store_may_share_a_name(make_store):
    store = make_store(kind="figshare")
    refuse_training_patients(model_of(store, "val", data_kind="other"), store, store.spans("by_patient", "val"))


def test_phantoms_of_another_seed_share_names_but_not_heads(make_store, make_case):
    cases = [make_case(f"p{p}", f"p{p}", synthetic=True, seed=p) for p in range(8)]
    store = make_store(cases)
    spans = store.spans("by_patient", "val")
    refuse_training_patients(model_of(store, "val", data_checksums_sha256={"a": "b"}), store, spans)
    with pytest.raises(StoreError, match="has learned from"):
        refuse_training_patients(model_of(store, "val"), store, spans)


def knowing(modalities=("t1c",), label_map=None, **regions):
    recipe = SimpleNamespace(model=ModelRecipe(**({"regions": regions} if regions else {})))
    labels = label_map or {"background": 0, "tumour": 1}
    return SimpleNamespace(info=SimpleNamespace(modalities=modalities, label_map=labels, recipe=recipe), name="m.keras")


def test_a_store_of_other_modalities_or_in_another_order_is_refused(make_store, make_case):
    store = make_store([make_case(f"p{p}", f"p{p}", modalities=2, seed=p) for p in range(3)])
    refuse_other_data(knowing(("t1c", "t1n")), store)
    for others in (("t1n", "t1c"), ("t1c",), ("t1c", "t2f")):
        with pytest.raises(StoreError, match=r"has the modalities t1c, t1n, m\.keras needs"):
            refuse_other_data(knowing(others), store)


def test_labels_that_mean_something_else_are_refused_but_any_tumour_is_a_tumour(make_store):
    store = make_store()
    refuse_other_data(knowing(label_map={"background": 0, "oedema": 1}), store)
    refuse_other_data(knowing(tumour=[1]), store)
    with pytest.raises(StoreError, match=r"label 1 is tumour, to m\.keras it is oedema"):
        refuse_other_data(knowing(label_map={"background": 0, "oedema": 1}, oedema=[1]), store)
    with pytest.raises(StoreError, match=r"label 2 is none, to m\.keras it is core"):
        refuse_other_data(knowing(label_map={"background": 0, "tumour": 1, "core": 2}, core=[2]), store)
