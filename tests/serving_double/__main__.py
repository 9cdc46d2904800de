"""Both doubles in a process of their own, which a test can kill: python -m tests.serving_double NAME=SAVED_MODEL ...

Prints the two ports, gRPC and REST, and serves until it is stopped.
"""

import signal
import sys

from tests.serving_double.grpc_double import GrpcDouble
from tests.serving_double.rest_double import RestDouble
from tests.serving_double.served_models import Loaded, ServedModels

if __name__ == "__main__":
    folders = dict(text.split("=", 1) for text in sys.argv[1:])
    served = ServedModels({name: {1: Loaded(path)} for name, path in folders.items()})
    doubles = GrpcDouble(served), RestDouble(served)
    print(*(double.port for double in doubles), flush=True)
    signal.pause()
