"""PromQL of every signal that scales something. Each expression yields exactly one series, or none in an outage.

None must never read as zero: a scaler that takes silence for no load scales down in the middle of it.
"""

from settings.scaling import ConsumerScaling, LatencyTrigger, PerPodTrigger, PoolTrigger
from settings.signals import BUSIEST_CONSUMER_USE_PERCENT, LATENCY_HISTOGRAMS, PER_POD


def per_pod_total(service: str, trigger: PerPodTrigger) -> str:
    """The total over all pods; the scaler divides it by the target per pod."""
    return (trigger.query or PER_POD[trigger.metric]).replace("{service}", service)


def latency_ratio(service: str, trigger: LatencyTrigger) -> str:
    """``min(p99 / objective, cap)``; 0 without traffic, and nothing when the exporter is gone.

    A quantile without observations is NaN, which ``>= 0`` drops; the second half then answers 0, but only while the
    histogram exists.
    """
    histogram, chosen = LATENCY_HISTOGRAMS[trigger.source], f'{{service="{service}"}}'
    p99 = f"histogram_quantile(0.99, sum by (le) (rate({histogram}_bucket{chosen}[1m])))"
    ratio = f"1000 * {p99} / {trigger.objective_milliseconds}"
    return f"clamp_max({ratio} >= 0, {trigger.cap_percent / 100:g}) or 0 * sum({histogram}_count{chosen})"


def pool_ratio(service: str, trigger: PoolTrigger) -> str:
    """``min(use of the fullest pool / allowed use, cap)``: a read pool with room would hide a full write pool."""
    in_use, most = (
        f'sum by (role) (database_pool_connections_{what}{{service="{service}"}})' for what in ("in_use", "max")
    )
    use = f"100 * max({in_use} / {most})"
    return f"clamp_max({use} / {trigger.use_percent}, {trigger.cap_percent / 100:g})"


def breaker_hold(service: str, open_percent: int) -> str:
    """1 while more than ``open_percent`` of the calls are refused by the breaker, else 0; never above 1."""
    chosen = f'{{service="{service}"}}'
    refused = f"sum(rate(circuit_breaker_rejected_total{chosen}[1m]))"
    return f"100 * {refused} / sum(rate(circuit_breaker_calls_total{chosen}[1m])) > bool {open_percent}"


def consumer_lag(topic: str, group: str) -> str:
    """Messages that a group has not committed yet, over all partitions."""
    return f'sum(kafka_consumergroup_lag{{consumergroup="{group}",topic="{topic}"}})'


def consumer_rate_floor(topic: str, partitions: int, scaling: ConsumerScaling) -> str:
    """The lag-like value at which as many consumers are asked for as the input rate needs; the larger of two.

    ``T x rate / (capacity x use)``: divided by T it is the number of consumers that serve the rate at that use.
    ``T x partitions / floor(partitions x capacity x 0.9 / rate)``: partitions are whole, so 13 to 23 consumers of 24
    partitions carry no more than 12. The divisor is how many partitions one consumer can read at the rate.
    """
    above, capacity = scaling.add_above_lag_per_consumer, scaling.messages_per_second_per_consumer
    rate = f'sum(rate(kafka_topic_partition_current_offset{{topic="{topic}"}}[2m]))'
    even = f"{above} * {rate} / {capacity * scaling.rate_floor_use_percent / 100:g}"
    of_one = f"floor({partitions * capacity * BUSIEST_CONSUMER_USE_PERCENT / 100:g} / {rate})"
    whole = f"{above * partitions} / clamp_min({of_one}, 1)"
    return f"{even} >= {whole} or {whole}"
