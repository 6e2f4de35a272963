"""The one hash that decides where a user lives."""

import hashlib

from payments_client.contract_shards import BUCKETS

_HASHED_BYTES = 8


def bucket_of(user_id: str) -> int:
    """The bucket of a user, 0 to 1023; the same in every process, language and version (SQL: ``ops.bucket_of``).

    The id is taken as it is: neither case nor Unicode form are changed, so write an id in one way only. Raises
    ``ValueError`` for an empty id and for one that PostgreSQL cannot store (NUL, half of a surrogate pair).
    """
    if not user_id or "\0" in user_id:
        raise ValueError("a user id is neither empty nor holds a NUL character")
    try:
        text = user_id.encode()
    except UnicodeEncodeError:
        raise ValueError("a user id holds half of a surrogate pair, which UTF-8 cannot write") from None
    return int.from_bytes(hashlib.sha256(text).digest()[:_HASHED_BYTES]) % BUCKETS
