"""Which partition a key belongs to: the same answer as Kafka's Java client, in pure Python.

Java's default partitioner hashes a key that is not null with murmur2 (32 bits, seed 0x9747b28c), clears the sign and
takes the remainder by the number of partitions (``org.apache.kafka.common.utils.Utils``, ``BuiltInPartitioner``).
librdkafka's default is another one (CRC 32): a producer of ours sets ``partitioner: murmur2_random``.
"""

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF
_WITHOUT_SIGN = 0x7FFFFFFF


def partition_for(key: bytes | str, partitions: int) -> int:
    """Partition of a key, 0 … ``partitions`` - 1; text is hashed as UTF-8, as Java's StringSerializer writes it.

    Raises ``ValueError`` when ``partitions`` is below 1. A message without a key has no such answer: it goes anywhere.
    """
    if partitions < 1:
        raise ValueError(f"partitions is {partitions}; allowed: 1 and more")
    raw = key.encode() if isinstance(key, str) else key
    return (murmur2(raw) & _WITHOUT_SIGN) % partitions


def murmur2(data: bytes) -> int:
    """Kafka's 32-bit murmur2 of some bytes, unsigned (Java prints the same bits as a signed number)."""
    value = _SEED ^ len(data)
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        value = value * _MULTIPLIER & _MASK ^ word
    if whole < len(data):
        value = (value ^ int.from_bytes(data[whole:], "little")) * _MULTIPLIER & _MASK
    value = (value ^ value >> 13) * _MULTIPLIER & _MASK
    return value ^ value >> 15
