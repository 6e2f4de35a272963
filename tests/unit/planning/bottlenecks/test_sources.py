"""Samples from a file, from the twin, and from a server that speaks Prometheus' HTTP API."""

import json
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning.bottlenecks.findings import Detector
from planning.bottlenecks.prometheus import Prometheus
from planning.bottlenecks.rules import read_rules, watches
from planning.bottlenecks.sources import Look, SourceError, detect, looks_of, read_samples, write_samples
from planning.twin.plant_stack import read_stack
from planning.twin.scenarios import recorded
from planning.twin.simulation import simulate
from planning.twin.workload import Load
from tests.unit.stacks import manifests_of, settings_of

HEADER = "time_seconds,metric,subject,value"


def test_rows_of_one_time_are_one_look() -> None:
    looks = read_samples([HEADER, "0,a,x,1", "0,b,x,2", "15,a,x,3"], source="s.csv")
    assert looks == [
        Look(time_seconds=0.0, values={("a", "x"): 1.0, ("b", "x"): 2.0}),
        Look(time_seconds=15.0, values={("a", "x"): 3.0}),
    ]


def test_everything_that_is_wrong_with_a_file_is_said_at_once() -> None:
    lines = [HEADER, "0,a,x,one", "30,a,x,1", "15,a,x,1", "45,,x,1", "60,a,x,nan"]
    with pytest.raises(SourceError) as caught:
        read_samples(lines, source="s.csv")
    message = str(caught.value)
    assert [f"line {line}" in message for line in (2, 3, 4, 5, 6)] == [True, False, True, True, True]


@pytest.mark.parametrize("lines", [[], ["a,b"], [HEADER]])
def test_a_file_without_samples_is_refused(lines: list[str]) -> None:
    with pytest.raises(SourceError, match=r"s\.csv"):
        read_samples(lines, source="s.csv")


numbers = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.6g}"))


@given(
    st.lists(st.dictionaries(st.tuples(st.sampled_from("ab"), st.sampled_from("xy")), numbers, min_size=1), min_size=1)
)
def test_what_is_written_is_read_again(series: list[dict[tuple[str, str], float]]) -> None:
    looks = [Look(time_seconds=15.0 * index, values=values) for index, values in enumerate(series)]
    assert read_samples(write_samples(looks), source="s.csv") == looks


def test_the_twin_tells_every_series_that_a_stack_is_watched_for() -> None:
    settings = settings_of("dev")
    stack = read_stack("dev", manifests_of("dev").values(), settings)
    looks = looks_of(simulate(stack, recorded("calm", Load(step_seconds=5, requests_per_second=(200.0,) * 60))))
    watched = watches(read_rules(), settings)
    assert {watch.series for watch in watched} <= looks[-1].values.keys()
    found = detect(Detector(watched), looks)
    assert found.findings == ()
    assert found.load[-1] == (looks[-1].time_seconds, 200.0)
    assert looks[1].time_seconds - looks[0].time_seconds == 15


def test_t11_the_stress_load_is_beyond_what_now_promises_and_the_detector_says_where() -> None:
    settings = settings_of("dev")
    stack = read_stack("dev", manifests_of("dev").values(), settings)
    assert stack.promised_requests_per_second == 1000
    looks = looks_of(simulate(stack, recorded("stress", Load(step_seconds=5, requests_per_second=(10_000.0,) * 240))))
    kinds = {
        (finding.kind, finding.subject) for finding in detect(Detector(watches(read_rules(), settings)), looks).findings
    }
    assert {("API_LATENCY", "payment-service"), ("CONSUMER_LAG", "payment-processors")} <= kinds


class _Server(ThreadingHTTPServer):
    answers: dict[str, Any]
    asked: list[tuple[str, dict[str, str]]]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = {key: value[0] for key, value in parse_qs(body).items()}
        server.asked.append((self.headers.get("Authorization", ""), fields))
        data = json.dumps(server.answers.get(fields["query"], _success([]))).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        pass


def _success(result: list[Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


@contextmanager
def _prometheus(answers: dict[str, Any]) -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.answers, server.asked = answers, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _watch() -> Any:
    [found] = [
        w for w in watches(read_rules(), settings_of("dev")) if w.series == ("lag_per_consumer", "payment-processors")
    ]
    return found


def _url(server: _Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"


def test_a_server_is_asked_for_a_range_and_its_samples_become_looks() -> None:
    watch = _watch()
    with _prometheus({watch.query: _success([{"metric": {}, "values": [[985, "1600"], [1000, "NaN"]]}])}) as server:
        looks = Prometheus(url=_url(server)).looks([watch], "payment-service", end_seconds=1004.0, back_seconds=30)
    # A multiple of the step: two reads of the same moment see the same samples.
    assert [look.time_seconds for look in looks] == [960.0, 975.0, 990.0]
    assert server.asked[0][1] | {"query": ""} == {"query": "", "start": "960", "end": "990", "step": "15"}
    assert math.isfinite(sum(value for look in looks for value in look.values.values()))


def test_samples_stand_at_their_time_and_a_token_is_sent_but_never_shown() -> None:
    watch = _watch()
    with _prometheus({watch.query: _success([{"metric": {}, "values": [[975, "1600"], [990, "NaN"]]}])}) as server:
        source = Prometheus(url=_url(server), token="canary-5a1")
        looks = source.looks([watch], "payment-service", end_seconds=1004.0, back_seconds=30)
    assert [dict(look.values) for look in looks] == [{}, {watch.series: 1600.0}, {}]
    assert server.asked[0][0] == "Bearer canary-5a1"
    assert "canary" not in repr(source)


def test_two_series_for_one_query_are_refused() -> None:
    watch = _watch()
    two = _success([{"metric": {}, "values": [[990, "1"]]}] * 2)
    with _prometheus({watch.query: two}) as server, pytest.raises(SourceError, match="2 series; allowed: one"):
        Prometheus(url=_url(server)).looks([watch], "payment-service", end_seconds=1004.0, back_seconds=30)


def test_what_the_server_refuses_is_said() -> None:
    watch = _watch()
    refused = {"status": "error", "errorType": "bad_data", "error": "parse error at char 3"}
    with _prometheus({watch.query: refused}) as server, pytest.raises(SourceError, match="parse error at char 3"):
        Prometheus(url=_url(server)).looks([watch], "payment-service", end_seconds=1004.0, back_seconds=30)


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(SourceError, match="fix: name the address of a Prometheus server"):
        Prometheus(url="http://127.0.0.1:1").looks([_watch()], "payment-service", end_seconds=0.0, back_seconds=15)


@pytest.mark.parametrize("url", ["prometheus:9090", "ftp://x", "http://", "http://me:canary-77@x"])
def test_an_address_that_is_none_or_holds_a_password_is_refused(url: str) -> None:
    with pytest.raises(SourceError, match="--prometheus: allowed") as caught:
        Prometheus(url=url)
    assert "canary" not in str(caught.value)
