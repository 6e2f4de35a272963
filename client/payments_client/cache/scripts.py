"""The server's half: what must happen at once on one key, as Lua. Runs unchanged on Redis >= 6.2 and Valkey, L2 and L3.

One cache key is one hash, so everything that must agree lies in one slot and is evicted together:

``d`` payload, absent when there is none · ``n`` 1 for "there is no such thing" · ``t`` when the truth was read, ``x``
until when the payload may be served (server's milliseconds) · ``g`` generation of the class · ``s`` schema of the
payload · ``l`` lease token and ``lx`` its end · ``f:<aggregate>`` highest stream version that is known of an aggregate.

The rule that keeps old values out: a payload is only stored by the holder of the lease, and only when it is at no
aggregate older than ``f:``. An event raises ``f:``; eviction takes the lease away. Either way a value that was read
before the event cannot be stored after it.
"""

import hashlib
from dataclasses import dataclass, field
from enum import IntEnum

GENERATIONS_KEY = "cache:generations"
"""Hash of class prefix → generation; raising one makes every older payload of the class invisible."""


class Status(IntEnum):
    """First element of a reply."""

    HIT = 1
    MISS = 2
    LEASE = 3
    BUSY = 4
    STORED = 5
    OLDER = 6
    NO_LEASE = 7
    APPLIED = 8


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest that the server knows it by."""

    name: str
    source: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        # The protocol names scripts by SHA-1; nothing is protected by it.
        object.__setattr__(self, "digest", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())


_COMMON = """
local key = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local h, floors = {}, {}
local flat = redis.call('HGETALL', key)
for i = 1, #flat, 2 do
  h[flat[i]] = flat[i + 1]
  if string.sub(flat[i], 1, 2) == 'f:' then
    floors[#floors + 1] = string.sub(flat[i], 3)
    floors[#floors + 1] = flat[i + 1]
  end
end
local function number(name) return tonumber(h[name] or '0') end
local function live_at_least(ms)
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end
local function reply(status, ...)
  local r = {status, ...}
  for i = 1, #floors do r[#r + 1] = floors[i] end
  return r
end
"""

READ = Script(
    "read",
    _COMMON
    + """
local generation, schema, token, lease_ms = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
local usable = h['d'] ~= nil and number('x') > now and number('g') >= generation and h['s'] == schema
for i = 5, #ARGV, 2 do
  if number('f:' .. ARGV[i]) < tonumber(ARGV[i + 1]) then usable = false end
end
if usable then return reply(1, math.max(0, now - number('t')), h['n'], h['d']) end
if token == '' then return reply(2, 0, '0', '') end
if h['l'] and h['l'] ~= token and number('lx') > now then return reply(4, number('lx') - now, '0', '') end
redis.call('HSET', key, 'l', token, 'lx', now + lease_ms)
live_at_least(lease_ms)
return reply(3, 0, '0', '')
""",
)
"""A payload or, with a token, the right to fill. ARGV: generation, schema, token or '', lease ms, then pairs of
aggregate and lowest acceptable version."""

FILL = Script(
    "fill",
    _COMMON
    + """
local token, ttl, age = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
if h['l'] ~= token then return reply(7, 0, '0', '') end
local given = {}
for i = 8, #ARGV, 2 do given[ARGV[i]] = tonumber(ARGV[i + 1]) end
for i = 1, #floors, 2 do
  if (given[floors[i]] or 0) < tonumber(floors[i + 1]) then return reply(6, 0, '0', '') end
end
redis.call('HSET', key, 'd', ARGV[7], 'n', ARGV[6], 't', now - age, 'x', now + ttl, 'g', ARGV[2], 's', ARGV[3])
for aggregate, version in pairs(given) do
  redis.call('HSET', key, 'f:' .. aggregate, string.format('%.0f', version))
end
redis.call('HDEL', key, 'l', 'lx')
live_at_least(ttl)
return reply(5, 0, '0', '')
""",
)
"""Store what the lease's holder has read. ARGV: token, generation, schema, ttl ms, age ms, negative 0/1, payload, then
pairs of aggregate and version."""

APPLY = Script(
    "apply",
    _COMMON
    + """
local name, version, ttl, floor_ms = 'f:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[5]), tonumber(ARGV[7])
local at = math.min(tonumber(ARGV[10]), now)
local before = h[name]
local status = 6
if not before or tonumber(before) < version then
  status = 8
  redis.call('HSET', key, name, ARGV[2])
  if before and at + ttl > now then
    redis.call('HSET', key, 'd', ARGV[6], 'n', '0', 't', at, 'x', at + ttl, 'g', ARGV[3], 's', ARGV[4])
    live_at_least(at + ttl - now)
  else
    redis.call('HDEL', key, 'd', 'n', 't', 'x', 'g', 's')
  end
end
live_at_least(floor_ms)
if ARGV[8] ~= '' then redis.call('PUBLISH', ARGV[8], ARGV[9]) end
return {status, before or '-1'}
""",
)
"""An event: raise the version of one aggregate, drop the payload or replace it. ARGV: aggregate, version, generation,
schema, ttl ms, payload, how long the version is remembered in ms, channel or '', message, Unix ms of the change (0: no
payload).

A payload is only stored where an older version is known: for a key that was forgotten, a late event cannot be told
from a new one, and the next read fetches the truth anyway. Its life counts from the change, not from now: a consumer
that lags ten minutes behind must not present what it brings as new. The message goes out in any case: processes may
hold what this server no longer has."""

DROP = Script(
    "drop",
    """
redis.call('HDEL', KEYS[1], 'd', 'n', 't', 'x', 'g', 's', 'l', 'lx')
if ARGV[1] ~= '' then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return {8}
""",
)
"""An event of an aggregate that the value's versions do not name (a payment, for a wallet's list): drop the payload and
take the lease away, so that what was read before the event cannot be stored. ARGV: channel or '', message."""

RELEASE = Script(
    "release",
    """
if redis.call('HGET', KEYS[1], 'l') == ARGV[1] then redis.call('HDEL', KEYS[1], 'l', 'lx') end
return {2}
""",
)
"""Give the lease back when the truth could not be read. ARGV: token."""

GENERATIONS = Script("generations", "return redis.call('HGETALL', KEYS[1])")
"""All generations, as pairs of prefix and number."""

FLUSH = Script(
    "flush",
    """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', math.max(known + 1, now)))
if ARGV[2] ~= '' then
  local message = cjson.decode(ARGV[3])
  message['generation'] = redis.call('HGET', KEYS[1], ARGV[1])
  redis.call('PUBLISH', ARGV[2], cjson.encode(message))
end
return redis.call('HGETALL', KEYS[1])
""",
)
"""Make every payload of a class invisible. ARGV: prefix, channel or '', message (a JSON object, which is sent with the
new generation in it). Generations are times, so that one
that was lost with its server is not given out again."""

ALL = (READ, FILL, APPLY, DROP, RELEASE, GENERATIONS, FLUSH)
