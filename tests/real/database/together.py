"""Workers that begin at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")
_TIMEOUT_SECONDS = 240


def together(work: Callable[[int], Result], workers: int) -> list[Result]:
    """Run ``work(0)``, ``work(1)``, … in threads; returns their results, raises the first failure."""
    barrier = threading.Barrier(workers)

    def begin(number: int) -> Result:
        barrier.wait(_TIMEOUT_SECONDS)
        return work(number)

    with ThreadPoolExecutor(workers) as pool:
        return [future.result(_TIMEOUT_SECONDS) for future in [pool.submit(begin, n) for n in range(workers)]]
