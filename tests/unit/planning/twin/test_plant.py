"""The plant: queues, pods, partitions, the bank. Hand-derived figures, and what must hold for every input."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.twin.plant_api import Api, ApiSpec
from planning.twin.plant_bank import Breaker, BreakerState, slow_share
from planning.twin.plant_constants import PlantConstants
from planning.twin.plant_consumers import ConsumerGroup, ConsumerSpec
from planning.twin.plant_pods import Pods, PodTiming
from planning.twin.plant_queueing import wait_percentile_seconds

CONSTANTS = PlantConstants()
API_TIMING = PodTiming(ready_after_seconds=35, leave_seconds=15, surge_percent=25, max_unavailable=0)
CONSUMER_TIMING = PodTiming(ready_after_seconds=35, leave_seconds=5, surge_percent=0, max_unavailable=1)
GIB = 2.0**30


def api(pods: int, *, bank: bool = False, connections: int = 10) -> Api:
    spec = ApiSpec(
        name="payment-service",
        planned_rate_per_pod=200.0,
        cpu_request_cores=0.5,
        cpu_limit_cores=1.0,
        memory_request_bytes=GIB,
        memory_limit_bytes=2 * GIB,
        database_connections_per_pod=connections,
        calls_bank=bank,
        objective_seconds=1.0,
        requests_per_entry_request=1.0,
    )
    breaker = Breaker(CONSTANTS) if bank else None
    return Api(spec=spec, constants=CONSTANTS, pods=Pods.settled(API_TIMING, pods), breaker=breaker)


def group(members: int, *, partitions: int = 24, each: float = 100.0) -> ConsumerGroup:
    spec = ConsumerSpec(
        name="payment-processors",
        group="payment-service-group",
        topic="payment-events",
        partitions=partitions,
        messages_per_second=each,
        add_above_lag=1000,
        rate_floor_share=0.75,
        lag_objective=24_000,
        events_per_entry_request=1.0,
    )
    return ConsumerGroup(spec=spec, constants=CONSTANTS, pods=Pods.settled(CONSUMER_TIMING, members))


# Queueing


def test_one_server_waits_as_the_textbook_says() -> None:
    """M/M/1 at 50 %: P(wait > t) = 0.5 exp(-5 t) with a service of 0.1 s, so p99 is ln(50) / 5."""
    assert wait_percentile_seconds(5.0, 1, 0.1) == pytest.approx(math.log(50) / 5)


def _exact_probability_of_waiting(load: float, servers: int) -> float:
    """Erlang's C by the recurrence of Erlang's B; ``load`` in busy servers."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


@given(servers=st.integers(1, 50), use=st.floats(0.6, 0.97))
def test_many_servers_wait_nearly_as_erlang_says(servers: int, use: float) -> None:
    exact = _exact_probability_of_waiting(servers * use, servers)
    approximate = use ** (math.sqrt(2 * (servers + 1)) - 1)
    assert approximate == pytest.approx(exact, abs=0.06)


@given(rate=st.floats(0, 99), servers=st.integers(1, 20))
def test_more_load_never_waits_less_and_more_servers_never_longer(rate: float, servers: int) -> None:
    service = servers / 100.0
    assert wait_percentile_seconds(rate, servers, service) <= wait_percentile_seconds(rate + 0.5, servers, service)
    assert wait_percentile_seconds(rate, servers, service) >= wait_percentile_seconds(rate, servers + 1, service)


def test_at_saturation_the_wait_has_no_end() -> None:
    assert wait_percentile_seconds(100.0, 1, 0.01) == math.inf


# Pods


def test_a_new_pod_is_ready_after_its_start_and_not_before() -> None:
    pods = Pods.settled(API_TIMING, 3)
    pods.replicas = 5
    pods.advance(0)
    assert (pods.ready, pods.status_replicas) == (3, 5)
    pods.advance(34)
    assert pods.ready == 3
    pods.advance(35)
    assert (pods.ready, len(pods.settling)) == (5, 2)
    pods.advance(65)
    assert pods.settling == []


def test_scaling_down_takes_starting_pods_first_and_then_the_youngest() -> None:
    pods = Pods.settled(API_TIMING, 3)
    pods.note_load(150.0)
    pods.replicas = 4
    pods.advance(0)
    pods.advance(35)
    pods.replicas = 6
    pods.advance(40)
    pods.replicas = 3
    pods.advance(41)
    assert pods.starting == []
    assert pods.high_water == [150.0, 150.0, 150.0]
    assert len(pods.leaving) == 1
    pods.advance(56)
    assert pods.leaving == []


@given(
    replicas=st.integers(1, 30),
    percent=st.integers(1, 100),
    unavailable=st.integers(0, 3),
)
def test_a_rollout_keeps_what_the_strategy_promises(replicas: int, percent: int, unavailable: int) -> None:
    timing = PodTiming(ready_after_seconds=35, leave_seconds=5, surge_percent=percent, max_unavailable=unavailable)
    pods = Pods.settled(timing, replicas)
    pods.note_load(99.0)
    pods.roll_out()
    surge = math.ceil(replicas * percent / 100)
    for now in range(0, 45 * (replicas + 2), 5):
        pods.advance(now)
        assert pods.ready >= replicas - unavailable
        assert pods.status_replicas <= replicas + surge
    assert pods.old == 0
    assert pods.high_water == [0.0] * replicas


def test_consumers_are_replaced_one_at_a_time_and_never_surge() -> None:
    pods = Pods.settled(CONSUMER_TIMING, 4)
    pods.roll_out()
    for now in range(0, 300, 5):
        pods.advance(now)
        assert 3 <= pods.ready <= 4
        assert pods.status_replicas <= 4
    assert pods.old == 0


# APIs


def test_t32_cpu_reaches_its_target_long_before_the_request_rate_does() -> None:
    """200 requests/s is the plan's load of a pod and its whole request; the trigger waits for 1,000 a pod."""
    service = api(5)
    state = service.step(0, 5, 1000.0, 0.3)
    assert state.cpu_cores_per_pod == pytest.approx(0.5)
    assert service.spec.cpu_capacity_per_pod == pytest.approx(400.0)
    assert state.rate / 5 < 1000


def test_cpu_stops_at_the_limit_and_the_rest_waits() -> None:
    service = api(1)
    state = service.step(0, 10, 500.0, 0.3)
    assert state.cpu_cores_per_pod == pytest.approx(1.0)
    assert state.backlog == pytest.approx(1000.0)  # 100 requests/s too many for 10 s
    assert state.p99_seconds > 2.5  # they wait 1000 / 400 s


def test_what_waits_longer_than_the_client_is_dropped() -> None:
    service = api(1)
    for index in range(100):
        state = service.step(index * 5, 5, 800.0, 0.3)
    assert state.backlog == pytest.approx(4000.0)  # 10 s of 400 requests/s
    assert state.dropped == pytest.approx(400.0)
    assert state.p99_seconds == CONSTANTS.request_timeout_seconds


@given(rates=st.lists(st.floats(0, 2000), min_size=1, max_size=30), pods=st.integers(0, 10))
def test_requests_are_neither_lost_nor_invented(rates: list[float], pods: int) -> None:
    service = api(pods)
    arrived = served = dropped = 0.0
    for index, rate in enumerate(rates):
        state = service.step(index * 5, 5, rate, 0.3)
        arrived += rate * 5
        served += state.calls * 5
        dropped += state.dropped * 5
    assert served + dropped + service.state.backlog == pytest.approx(arrived, abs=1e-6)


def test_t6_memory_of_a_heap_that_does_not_shrink_stays_where_the_peak_left_it() -> None:
    service = api(4)
    service.step(0, 5, 800.0, 0.3)
    at_peak = service.state.memory_bytes_per_pod
    assert at_peak == pytest.approx(0.70 * GIB)
    service.step(5, 5, 10.0, 0.3)
    assert service.state.memory_bytes_per_pod == at_peak


def test_t13_a_full_pool_bounds_the_pod_before_its_cpu_does() -> None:
    service = api(1, connections=1)
    state = service.step(0, 5, 300.0, 0.3)
    assert state.binding == "database-pool"
    assert state.capacity == pytest.approx(250.0)  # one connection, 4 ms each
    assert state.pool_use == pytest.approx(1.0)


def test_t14_more_pods_do_not_make_a_slow_bank_faster() -> None:
    few, many = api(2, bank=True), api(20, bank=True)
    for service in (few, many):
        service.step(0, 5, 100.0, 6.0)
    assert few.state.p99_seconds == many.state.p99_seconds == CONSTANTS.request_timeout_seconds


def test_the_breaker_opens_on_lasting_failures_tries_and_closes_again() -> None:
    breaker = Breaker(CONSTANTS)
    assert slow_share(0.3, 2.0) < 0.01
    assert slow_share(6.0, 2.0) > CONSTANTS.breaker_failure_share
    shares = [breaker.refused_share(now, 6.0) for now in range(0, 35, 5)]
    assert shares == [0.0] * 6 + [1.0]
    assert breaker.refused_share(89, 6.0) == 1.0
    assert breaker.refused_share(90, 6.0) == pytest.approx(0.9)
    assert breaker.refused_share(105, 6.0) == 1.0
    assert breaker.refused_share(165, 0.3) == pytest.approx(0.9)
    assert breaker.refused_share(180, 0.3) == 0.0
    assert breaker.state is BreakerState.CLOSED


# Consumers


def test_lag_is_the_integral_of_what_is_not_processed() -> None:
    consumers = group(12)
    for index in range(12):
        consumers.step(index * 5, 5, 1500.0)
    assert sum(consumers.lags) == pytest.approx((1500 - 1200) * 60)
    assert consumers.processed == pytest.approx(1200.0)
    for index in range(12, 12 + 12):
        consumers.step(index * 5, 5, 900.0)
    assert sum(consumers.lags) == pytest.approx(0.0, abs=1e-6)


def test_t7_between_half_the_partitions_and_all_of_them_consumers_add_nothing() -> None:
    """24 partitions: someone reads two of them with 12 consumers as with 23."""
    consumers = group(12)
    assert [consumers.sustainable_rate(n) for n in (12, 20, 23)] == [1200.0] * 3
    assert consumers.sustainable_rate(24) == 2400.0
    twenty = group(20)
    for index in range(60):
        twenty.step(index * 5, 5, 1600.0)
    # Four consumers read two partitions each, 133 messages/s for 100: 33 messages/s too many on each of the four.
    assert sum(twenty.lags) == pytest.approx(4 * (1600 / 12 - 100) * 300)


def test_partitions_that_change_their_owner_wait_and_the_others_go_on() -> None:
    consumers = group(10, partitions=20)
    consumers.step(0, 5, 900.0)
    assert sum(consumers.lags) == 0
    consumers.pods.replicas = 20
    consumers.pods.advance(5)
    consumers.pods.advance(40)
    for now in range(40, 55, 5):
        consumers.step(now, 5, 2000.0)
    assert consumers.processed == pytest.approx(1000.0)  # ten of twenty partitions have new owners
    assert sorted(lag > 0 for lag in consumers.lags) == [False] * 10 + [True] * 10
    consumers.step(55, 5, 2000.0)
    assert consumers.processed == pytest.approx(2000.0)


@given(
    rates=st.lists(st.floats(0, 5000), min_size=1, max_size=20),
    members=st.integers(0, 24),
)
def test_messages_are_neither_lost_nor_processed_twice(rates: list[float], members: int) -> None:
    consumers = group(members)
    arrived = processed = 0.0
    for index, rate in enumerate(rates):
        consumers.step(index * 5, 5, rate)
        arrived += rate * 5
        processed += consumers.processed * 5
        assert all(lag >= 0 for lag in consumers.lags)
        assert consumers.processed <= members * 100.0 + 1e-6
    assert processed + sum(consumers.lags) == pytest.approx(arrived, abs=1e-4)
