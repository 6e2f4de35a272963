"""500 misses at once on one key: one read of the database in all, and one for each process when L3 is dead."""

import json
import socket
from typing import Any

import pytest

from tests.real.cache_client.servers import Server, python

pytestmark = pytest.mark.real

PROCESSES = 4
MISSES_EACH = 125

THREADS = """
import sys, json, threading, time
from payments_client.cache import Loaded, Options, PaymentsCache
from payments_client.contract import RATES, CacheContract, RedisEndpoint
l2, l3, misses = (int(text) for text in sys.argv[1:4])
server = lambda port: RedisEndpoint(host="127.0.0.1", port=port, tls=False)
reads = []
def load(item_id, at_least):
    reads.append(item_id)
    time.sleep(0.5)
    return Loaded({"rate": "1.07"}, {item_id: 1})
with PaymentsCache(CacheContract(l2=server(l2), l3=server(l3)), options=Options(call_timeout_seconds=20)) as cache:
    reader = cache.reader(RATES, load)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(reader.get("EUR-USD")["rate"])) for _ in range(misses)]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads: thread.start()
    for thread in threads: thread.join()
print(json.dumps({"reads": len(reads), "answers": answers}), flush=True)
"""

TASKS = """
import sys, json, asyncio
from payments_client.cache import Loaded, Options, AsyncPaymentsCache
from payments_client.contract import RATES, CacheContract, RedisEndpoint
l2, l3, misses = (int(text) for text in sys.argv[1:4])
server = lambda port: RedisEndpoint(host="127.0.0.1", port=port, tls=False)
reads = []
async def load(item_id, at_least):
    reads.append(item_id)
    await asyncio.sleep(0.5)
    return Loaded({"rate": "1.07"}, {item_id: 1})
async def main():
    contract = CacheContract(l2=server(l2), l3=server(l3))
    async with AsyncPaymentsCache(contract, options=Options(call_timeout_seconds=20)) as cache:
        reader = cache.reader(RATES, load)
        print("ready", flush=True)
        sys.stdin.readline()
        answers = await asyncio.gather(*(reader.get("EUR-USD") for _ in range(misses)))
    print(json.dumps({"reads": len(reads), "answers": [answer["rate"] for answer in answers]}), flush=True)
asyncio.run(main())
"""


def stampede(l2_port: int, l3_port: int) -> list[dict[str, Any]]:
    """Half of the processes with threads, half with tasks, all let go together."""
    sources = [THREADS, TASKS] * (PROCESSES // 2)
    started = [python(source, str(l2_port), str(l3_port), str(MISSES_EACH)) for source in sources]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [json.loads(process.communicate(timeout=120)[0]) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    for result in results:
        assert result["answers"] == ["1.07"] * MISSES_EACH
    return results


def test_500_misses_read_the_database_once_in_all(l2: Server, l3: Server) -> None:
    results = stampede(l2.port, l3.port)
    assert [result["reads"] for result in results if result["reads"]] == [1]


def test_500_misses_without_l3_and_l2_read_it_once_per_process() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        port = taken.getsockname()[1]
        results = stampede(port, port)
    assert [result["reads"] for result in results] == [1] * PROCESSES


def test_a_process_that_dies_with_the_lease_delays_the_others_by_the_lease_only(l2: Server, l3: Server) -> None:
    with l3.client() as client:
        client.hset("rates:EUR-USD", mapping={"l": "of a dead process", "lx": client.time()[0] * 1000 + 3000})
    results = stampede(l2.port, l3.port)
    assert [result["reads"] for result in results if result["reads"]] == [1]
