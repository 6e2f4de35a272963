"""Waiting in front of a group of equal servers, in closed form.

``M/M/c`` with arrivals at ``rate``, c servers and ``capacity`` = c / service time: an arrival waits with the
probability (rate / capacity) ** (sqrt(2 (c + 1)) - 1), Sakasegawa's approximation of 1977, exact for one server; those
that wait do so for an exponential time, so that P(wait > t) = P(wait) * exp(-(capacity - rate) * t).
"""

import math


def wait_percentile_seconds(rate: float, servers: float, service_seconds: float, tail: float = 0.01) -> float:
    """The wait that a share ``tail`` of the arrivals exceeds.

    ``rate`` in arrivals/s, ``service_seconds`` the mean service of one server. Infinite at or above saturation.
    """
    capacity = servers / service_seconds
    if rate >= capacity:
        return math.inf
    waiting: float = (rate / capacity) ** (math.sqrt(2 * (servers + 1)) - 1)
    return math.log(waiting / tail) / (capacity - rate) if waiting > tail else 0.0
