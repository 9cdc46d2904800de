"""What several tests share: heads, figshare files as MATLAB would write them, and small stores."""

import cv2
import h5py
import numpy as np
import pytest

from toolkit.data.case import Case
from toolkit.data.store import Store
from toolkit.data.store_writer import StoreWriter


@pytest.fixture
def head():
    """Draws a bright, uneven disc on a black ground; each seed gives another texture."""

    def draw(seed=0, shape=(48, 48), dtype=np.int16):
        coarse = np.random.default_rng(seed).uniform(0.3, 1.0, (6, 6)).astype(np.float32)
        texture = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR)
        row, column = np.indices(shape)
        inside = np.hypot(row / shape[0] - 0.5, column / shape[1] - 0.5) < 0.42
        return (texture * inside * 250).astype(dtype)

    return draw


@pytest.fixture
def figshare_file(head):
    """Writes a slice the way MATLAB 7.3 does: columns first, text as character codes, a 512-byte preamble."""

    def write(path, image=None, mask=None, patient="100360", label=1, border=None, leave_out=()):
        image = head(int(path.stem) if path.stem.isdigit() else 0) if image is None else image
        if mask is None:
            mask = np.zeros(image.shape, np.uint8)
            mask[image.shape[0] // 2 :, image.shape[1] // 2 :][:5, :6] = 1
        fields = {
            "PID": np.array([[ord(c)] for c in patient], np.uint16) if patient else np.zeros((2,), np.uint64),
            "image": image.T,
            "label": np.array([[float(label)]]),
            "tumorBorder": np.reshape([4, 4, 9, 4, 9, 10] if border is None else border, (-1, 1)).astype(float),
            "tumorMask": mask.T,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w", userblock_size=512) as file:
            group = file.create_group("cjdata")
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            for name in fields.keys() - set(leave_out):
                group[name] = fields[name]
        with path.open("r+b") as stream:
            stream.write(b"MATLAB 7.3 MAT-file, HDF5 schema 1.00 .".ljust(508) + b"\x00\x02IM")
        return path

    return write


@pytest.fixture
def make_case(head):
    """A case of any length and type, its slices all different, a tumour in the middle slices."""

    def make(name="p1-a", patient="p1", n_slices=5, dtype=np.int16, shape=(32, 32), seed=0, modalities=1, **more):
        images = np.stack([head(1000 * seed + s, shape) for s in range(n_slices)])[..., None].astype(dtype)
        images = np.concatenate([images, *(images // (m + 1) for m in range(1, modalities))], axis=-1)
        names = ("t1c", "t1n", "t2w", "t2f")[:modalities]
        mask = np.zeros(images.shape[:3], np.uint8)
        mask[n_slices // 3 :, 10:18, 12:24] = 1
        return Case(images, mask, patient=patient, case=name, modalities=names, **more)

    return make


@pytest.fixture
def make_store(tmp_path, make_case):
    """A store of the given cases, or of twelve patients in three classes with two cases each."""

    def make(cases=None, kind="phantom", folder="store", seed=1):
        if cases is None:
            cases = [
                make_case(f"p{p:02d}-{c}", f"p{p:02d}", 3 + 4 * c + p % 3, seed=2 * p + c, tumour_type="abc"[p % 3])
                for p in range(12)
                for c in range(2)
            ]
        path = tmp_path / folder
        path.mkdir()
        writer = StoreWriter(path, kind, seed)
        for case in cases:
            writer.add(case)
        writer.finish()
        return Store(path)

    return make
