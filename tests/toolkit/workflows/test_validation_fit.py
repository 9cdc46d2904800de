"""Whatever is fitted for a model file is fitted on validation patients, and for models that can keep it."""

import pytest

from tests.small_models import brightness_model, small_info
from toolkit.data.store import Store
from toolkit.errors import ModelError, StoreError
from toolkit.models.model_file import save_model
from toolkit.workflows.calibrate import calibrate
from toolkit.workflows.choose_postprocessing import choose_postprocessing

pytestmark = pytest.mark.parametrize(
    ("fit", "remedy"), [(calibrate, "calibrate the run"), (choose_postprocessing, "choose for the run")]
)


@pytest.fixture
def store(make_store, make_case):
    return make_store([make_case(f"p{number:02d}", f"p{number:02d}", seed=number) for number in range(12)])


def model_of(path, store, **more):
    known = {"data_kind": store.index.kind, "data_checksums_sha256": store.index.checksums_sha256}
    save_model(brightness_model(20.0, -10.0), path, small_info(**known | more))
    return path


def test_only_validation_patients_are_read(store, tmp_path, monkeypatch, fit, remedy):
    read, really_read = [], Store.read

    def watched(self, record, slices):
        read.append(record.patient_group)
        return really_read(self, record, slices)

    monkeypatch.setattr(Store, "read", watched)
    fit(model_of(tmp_path / "model.keras", store), store.path, tmp_path / "out")
    assert set(read) == set(store.index.splits.by_patient["val"])


def test_an_exported_model_is_not_changed(small_exports, store, tmp_path, fit, remedy):
    for file in (small_exports.saved_model, small_exports.tflite()):
        with pytest.raises(ModelError, match=f"is an exported model; {remedy}"):
            fit(file, store.path, tmp_path / "out")


def test_patients_that_it_has_learned_from_are_no_validation(store, tmp_path, fit, remedy):
    groups = tuple(store.index.splits.by_patient["val"])
    model = model_of(tmp_path / "model.keras", store, training_patient_groups=groups)
    with pytest.raises(StoreError, match="has learned from"):
        fit(model, store.path, tmp_path / "out")
