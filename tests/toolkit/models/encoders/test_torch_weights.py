"""PyTorch weights are read as data: a file written byte by byte comes back, a hostile one is refused."""

import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from toolkit.errors import ModelError
from toolkit.models.encoders.torch_weights import read_state_dict

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Tensor:
    """What a checkpoint says of a tensor: storage (type, key, size), offset, shape, strides."""

    def __init__(self, storage, offset, shape, stride):
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride


class CheckpointPickler(pickle._Pickler):
    """Writes the opcodes by which PyTorch names its classes and storages, without PyTorch."""

    def torch_name(self, module, name):
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def save(self, obj, save_persistent_id=True):
        if not isinstance(obj, Tensor):
            return super().save(obj, save_persistent_id)
        kind, key, size = obj.storage
        self.torch_name("torch._utils", "_rebuild_tensor_v2")
        self.write(pickle.MARK + pickle.MARK)
        super().save("storage")
        self.torch_name("torch", kind)
        for part in (key, "cpu", size, None):
            super().save(part)
        self.write(pickle.TUPLE + pickle.BINPERSID)
        for part in (obj.offset, obj.shape, obj.stride, False, OrderedDict()):
            super().save(part)
        self.write(pickle.TUPLE + pickle.REDUCE)
        return None


def checkpoint(state_dict, storages, magic=MAGIC):
    """Bytes of the legacy format: magic, protocol, machine, state dict, keys, then each storage."""
    file = io.BytesIO()
    for header in (magic, PROTOCOL, {"little_endian": True}):
        pickle.dump(header, file, protocol=2)
    CheckpointPickler(file, protocol=2).dump(OrderedDict(state_dict))
    pickle.dump(list(storages), file, protocol=2)
    for form, values in storages.values():
        file.write(struct.pack(f"<q{len(values)}{form}", len(values), *values))
    return file.getvalue()


FLOATS = ("FloatStorage", "140", 8)
GOOD = {
    "conv.weight": Tensor(FLOATS, 2, (2, 3), (3, 1)),
    "conv.transposed": Tensor(FLOATS, 2, (3, 2), (1, 3)),
    "norm.batches": Tensor(("LongStorage", "141", 1), 0, (), ()),
}
STORAGES = {"140": ("f", [90, 91, 0, 1, 2, 3, 4, 5]), "141": ("q", [7])}


def write(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return path


def assert_refused(path, reason=""):
    with pytest.raises(ModelError) as caught:
        read_state_dict(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert reason in message


# --- what is right --------------------------------------------------------------------


def test_tensors_come_back_with_name_type_offset_and_stride(tmp_path):
    tensors = read_state_dict(write(tmp_path, checkpoint(GOOD, STORAGES)))
    assert list(tensors) == list(GOOD)
    np.testing.assert_array_equal(tensors["conv.weight"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tensors["conv.transposed"], [[0, 3], [1, 4], [2, 5]])
    assert tensors["conv.weight"].dtype == np.float32
    assert tensors["norm.batches"].dtype == np.int64
    assert tensors["norm.batches"].shape == ()
    assert int(tensors["norm.batches"]) == 7


# --- what is hostile ------------------------------------------------------------------


class RunsCode:
    """A pickle of it makes a folder when it is loaded as a pickle would be."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.system, (f"mkdir {self.folder}",)


@pytest.mark.parametrize("place", ["as the whole file", "in the state dict"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, place):
    trap = RunsCode(tmp_path / "was_run")
    content = pickle.dumps(trap, protocol=2)
    if place == "in the state dict":
        content = checkpoint({**GOOD, "trap": trap}, STORAGES)
    assert_refused(write(tmp_path, content), "system is not part of a plain state dict")
    assert not trap.folder.exists()


def test_that_pickle_would_have_run(tmp_path):
    trap = RunsCode(tmp_path / "was_run")
    pickle.loads(pickle.dumps(trap, protocol=2))
    assert trap.folder.exists()


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(FLOATS, 0, (3, 3), (3, 1)),
        Tensor(FLOATS, 6, (3,), (1,)),
        Tensor(FLOATS, -1, (2,), (1,)),
        Tensor(FLOATS, 7, (8,), (-1,)),
        Tensor(FLOATS, 0, (2,), (2**62,)),
    ],
    ids=["too large", "offset too far", "offset before the start", "backwards", "stride beyond memory"],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(tmp_path, tensor):
    assert_refused(write(tmp_path, checkpoint({"w": tensor}, {"140": STORAGES["140"]})))


# --- what is damaged ------------------------------------------------------------------


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    content = checkpoint(GOOD, STORAGES)
    for length in range(len(content)):
        assert_refused(write(tmp_path, content[:length]))


def test_a_file_of_the_newer_zip_format_is_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}, protocol=2))
    assert_refused(path)


def test_other_files_are_refused(tmp_path):
    assert_refused(tmp_path / "absent.pth", "No such file")
    assert_refused(write(tmp_path, checkpoint(GOOD, STORAGES, magic=1)), "legacy format")
    assert_refused(write(tmp_path, checkpoint({"w": [1.0, 2.0]}, {})))
    assert_refused(write(tmp_path, checkpoint(GOOD, {"140": STORAGES["140"]})))


def test_a_length_gone_wrong_that_asks_for_all_memory_is_refused(tmp_path):
    """BINUNICODE8 announces a string of 2^62 bytes."""
    assert_refused(write(tmp_path, b"\x80\x04" + pickle.BINUNICODE8 + struct.pack("<Q", 2**62) + b"."))
