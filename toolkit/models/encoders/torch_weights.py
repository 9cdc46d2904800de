"""Read the tensors of a PyTorch checkpoint without PyTorch and without running it.

A checkpoint of PyTorch's legacy format is a pickle, and a pickle can run code.
The unpickler here knows the four names that a plain state dict needs and refuses
every other, so that a file from a stranger stays data.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from toolkit.errors import ModelError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {"FloatStorage": np.float32, "LongStorage": np.int64}
_MAX_VALUES = 500_000_000
# What a pickle that was cut short or changed raises, by trial; a length gone wrong asks for more memory than there is.
_DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    OverflowError,
    MemoryError,
    pickle.UnpicklingError,
)


class _Storage:
    """Flat values that tensors are views of; filled after the pickle has been read."""

    def __init__(self, dtype: type, size: int) -> None:
        self.dtype, self.size = np.dtype(dtype), size
        self.values: np.ndarray | None = None


class _Tensor:
    """A view of a storage, as torch._utils._rebuild_tensor_v2 describes it."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any):
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def numpy(self) -> np.ndarray:
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if self.storage.values is None or min(self.offset, *self.shape, *self.stride, last) < 0:
            raise ValueError("a tensor has an impossible shape")
        if last >= self.storage.size:
            raise ValueError("a tensor reaches beyond its storage")
        flat = self.storage.values[self.offset :]
        strides = tuple(step * flat.itemsize for step in self.stride)
        return np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False)


class _StateDictUnpickler(pickle.Unpickler):
    """Unpickler that can build ordered dicts and tensors, and nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _STORAGES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a plain state dict")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, size, view = pid
        if kind != "storage" or view is not None or not 0 <= size <= _MAX_VALUES:
            raise pickle.UnpicklingError("unknown kind of storage")
        return self.storages.setdefault(key, _Storage(_STORAGES[storage_type], size))


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Tensors of a state dict saved by `torch.save` in the legacy format (before 1.6).

    Args:
        path: the `.pth` file.

    Returns:
        Name to array, in the order of the file.

    Raises:
        ModelError: missing, not of that format, truncated, or holding anything
            but tensors.
    """
    try:
        with path.open("rb") as file:
            if _StateDictUnpickler(file).load() != _MAGIC or _StateDictUnpickler(file).load() != _PROTOCOL:
                raise ValueError("not PyTorch's legacy format")
            _StateDictUnpickler(file).load()  # byte order and type sizes of the writer: little endian in practice
            unpickler = _StateDictUnpickler(file)
            tensors = unpickler.load()
            _fill(unpickler.storages, _StateDictUnpickler(file).load(), file)
        return {name: tensor.numpy() for name, tensor in tensors.items()}
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{path}: can't be read as PyTorch weights ({reason}); install the file again") from error


def _fill(storages: dict[str, _Storage], keys: list[str], file: BinaryIO) -> None:
    for key in keys:
        storage = storages[key]
        if int.from_bytes(file.read(8), "little") != storage.size:
            raise ValueError("a storage has another size than announced")
        data = file.read(storage.size * storage.dtype.itemsize)
        storage.values = np.frombuffer(data, storage.dtype.newbyteorder("<"), storage.size)
