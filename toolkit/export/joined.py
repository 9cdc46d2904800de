"""Several TFLite files as one with a signature each; what they hold in common, such as weights, is kept once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"  # of a TFLite file (schema.fbs: file_identifier)


def joined(contents: Sequence[bytes]) -> bytes:
    """One TFLite file with the graphs and signatures of several.

    Converting several signatures at once would be TensorFlow's own way, but its quantisation debugger, which leaves
    chosen operators in float32, knows one only, and weights that two signatures share are then stored twice.

    Args:
        contents: TFLite files without control flow, with different names of signatures. The first one's graph is what a
            reader gets who asks for no signature.
    """
    whole, *others = (schema.ModelT.InitFromPackedBuf(content, 0) for content in contents)
    for other in others:
        _append(whole, other)
    _store_once(whole)
    builder = flatbuffers.Builder(sum(map(len, contents)))
    builder.Finish(whole.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _append(whole: Any, other: Any) -> None:
    """Add the graphs of another model; what they name by number has moved."""
    n_graphs, n_codes, n_buffers = len(whole.subgraphs), len(whole.operatorCodes), len(whole.buffers)
    for graph in other.subgraphs:
        for operator in graph.operators:
            operator.opcodeIndex += n_codes
        for tensor in graph.tensors:
            tensor.buffer += n_buffers
    for signature in other.signatureDefs:
        signature.subgraphIndex += n_graphs
    whole.subgraphs += other.subgraphs
    whole.operatorCodes += other.operatorCodes
    whole.buffers += other.buffers
    whole.signatureDefs += other.signatureDefs


def _store_once(model: Any) -> None:
    """Keep one of equal buffers. Empty ones stay as they are: they stand for what is computed."""
    first: dict[bytes, int] = {}
    kept: list[Any] = []
    moved: list[int] = []
    for buffer in model.buffers:
        data = b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()
        place = first.get(data) if data else None
        if place is None:
            place = len(kept)
            kept.append(buffer)
            if data:
                first[data] = place
        moved.append(place)
    model.buffers = kept
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            tensor.buffer = moved[tensor.buffer]
    for metadata in model.metadata or []:
        metadata.buffer = moved[metadata.buffer]
