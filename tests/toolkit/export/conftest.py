"""What the tests of exported models share: what a model was made for."""

import pytest

from toolkit.config import check_recipe
from toolkit.models.model_file import ModelInfo


@pytest.fixture
def make_info():
    """What a model of a small recipe says of itself; `recipe` changes the recipe, the rest the information."""

    def make(recipe=None, **more):
        values = {"name": "small", "data": {"image_size": 32, "window": {"slices": 3, "halo": 1}}}
        known = {
            "modalities": ("t1c",),
            "label_map": {"background": 0, "tumour": 1},
            "data_kind": "figshare",
            "data_checksums_sha256": {"shard-00000.tfrecord": "ab"},
            "training_patient_groups": ("p1", "p2", "p3"),
            "synthetic_data": False,
        }
        return ModelInfo(recipe=check_recipe(values | (recipe or {}), "test"), **(known | more))

    return make
