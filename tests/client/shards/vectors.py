"""Ids and their buckets, for ever. Whoever writes a client in another language checks it against these.

Made with ``printf %s ID | sha256sum``: the seventh and eighth byte as a number, modulo 1024.
"""

from typing import Final

VECTORS: Final = {
    "1": 225,
    "42": 653,
    "user-1": 434,
    "user-123456": 934,
    "550e8400-e29b-41d4-a716-446655440000": 690,
    "550E8400-E29B-41D4-A716-446655440000": 254,
    "José": 894,
    "Jose\u0301": 994,
    "用户": 119,
    "🙂": 376,
    " user-1": 293,
    "a" * 1000: 217,
}
