"""The client of a TensorFlow Serving."""

from toolkit.inference.runtimes.server.server_runtime import ServerRuntime

__all__ = ["ServerRuntime"]
