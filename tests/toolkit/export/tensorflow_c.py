"""Run `serving_default` of a SavedModel through TensorFlow's C interface, with the calls that a C++ server makes.

    python -I tensorflow_c.py TENSORFLOW_FOLDER SAVED_MODEL ARRAYS FEED=KEY... FETCH

Neither Python's TensorFlow nor a function of it is there: what runs is the graph in the file. ARRAYS is an .npz; the
key `answer` is added to it, what FETCH says.
"""

import ctypes
import sys

import numpy as np

FLOAT32 = 1  # TF_FLOAT


class Place(ctypes.Structure):
    """TF_Output."""

    _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


def main(tensorflow, model, arrays, *names):
    ctypes.CDLL(f"{tensorflow}/libtensorflow_framework.so.2", ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(f"{tensorflow}/libtensorflow_cc.so.2", ctypes.RTLD_GLOBAL)

    def call(name, *arguments, returns=ctypes.c_void_p):
        function = getattr(library, name)
        function.restype = returns
        return function(*(ctypes.c_void_p(a) if isinstance(a, int) and a > 2**31 else a for a in arguments))

    status = call("TF_NewStatus")

    def check():
        if call("TF_GetCode", status, returns=ctypes.c_int):
            raise SystemExit(call("TF_Message", status, returns=ctypes.c_char_p).decode())

    graph, options = call("TF_NewGraph"), call("TF_NewSessionOptions")
    tags = (ctypes.c_char_p * 1)(b"serve")
    session = call("TF_LoadSessionFromSavedModel", options, None, model.encode(), tags, 1, graph, None, status)
    check()

    def place(name):
        operation, _, index = name.partition(":")
        found = call("TF_GraphOperationByName", graph, operation.encode())
        assert found, f"no operation {operation}"
        return Place(found, int(index))

    *feeds, fetch = names
    given = dict(np.load(arrays))
    tensors = []
    for feed in feeds:
        values = np.ascontiguousarray(given[feed.partition("=")[2]], np.float32)
        sizes = (ctypes.c_int64 * values.ndim)(*values.shape)
        tensor = call("TF_AllocateTensor", FLOAT32, sizes, values.ndim, ctypes.c_size_t(values.nbytes))
        ctypes.memmove(call("TF_TensorData", tensor), values.ctypes.data, values.nbytes)
        tensors.append(tensor)
    inputs = (Place * len(feeds))(*(place(feed.partition("=")[0]) for feed in feeds))
    outputs, answer = (Place * 1)(place(fetch)), (ctypes.c_void_p * 1)()
    fed = (ctypes.c_void_p * len(feeds))(*tensors)
    call("TF_SessionRun", session, None, inputs, fed, len(feeds), outputs, answer, 1, None, 0, None, status)
    check()
    rank = call("TF_NumDims", answer[0], returns=ctypes.c_int)
    shape = [call("TF_Dim", answer[0], axis, returns=ctypes.c_int64) for axis in range(rank)]
    data = ctypes.cast(call("TF_TensorData", answer[0]), ctypes.POINTER(ctypes.c_float))
    np.savez(arrays, **given, answer=np.ctypeslib.as_array(data, shape))
    assert "tensorflow" not in sys.modules


if __name__ == "__main__":
    main(*sys.argv[1:])
