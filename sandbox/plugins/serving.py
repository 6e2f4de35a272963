"""What both plugins need of gRPC: a server on a free local port that ends when the engine ends."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent import futures
from types import FrameType

import grpc

MAX_WORKERS = 96  # an awaited object holds its worker until it is ready
PARENT_CHECK_SECONDS = 1.0
GC_THRESHOLD = 50_000
# A stack's state can be larger than gRPC's default of 4 MiB.
CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def serve(register: Callable[[grpc.Server], None], stop: Callable[[], None]) -> None:
    """Serve until the engine ends; print the port on standard output, which is how the engine learns it.

    ``register`` adds the servicer; ``stop`` is called once before the process ends.
    """
    # Modules stay for ever, and messages die young: the default would look through all of them at every call.
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=MAX_WORKERS, thread_name_prefix="rpc"),
        options=(*CHANNEL_OPTIONS, ("grpc.so_reuseport", 0)),
    )
    register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    parent = os.getppid()
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    ended = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, on_signal)
    # The engine may be killed with no chance to tell: then this process gets another parent.
    while not ended.wait(PARENT_CHECK_SECONDS):
        if os.getppid() != parent:
            break
    stop()
    sys.stdout.flush()
    sys.stderr.flush()
    # Interpreter shutdown would wait for worker threads, which may still be awaiting an object.
    os._exit(0)
