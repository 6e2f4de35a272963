"""The picture: what it reads from the declared objects, and that the drawing shows it."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from cli.graph import draw, to_svg
from cli.graph_model import NamespaceFrame, Workload, read_frames
from tests.unit.stacks import REMOVED, manifests_of, platform_of, recording_of

_SVG = "{http://www.w3.org/2000/svg}"


def frame_of(stack: str, changes: Mapping[str, object] | None = None) -> NamespaceFrame:
    return payments(manifests_of(stack, changes).values())


def payments(manifests: Iterable[Mapping[str, Any]]) -> NamespaceFrame:
    """The frame of the services."""
    [frame] = [frame for frame in read_frames(manifests) if frame.name == "payments"]
    return frame


def workload(frame: NamespaceFrame, name: str) -> Workload:
    return next(item for group in frame.services for item in group.workloads if item.name == name)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{_SVG}text")]  # noqa: S314 # our own drawing


def dots(svg: str) -> list[Mapping[str, str]]:
    return [element.attrib for element in ET.fromstring(svg).iter(f"{_SVG}circle")]  # noqa: S314 # our own drawing


@pytest.mark.parametrize(
    ("stack", "clusters"), [("dev", ["postgres-cluster"]), ("prod", ["postgres-cluster", "postgres-cluster-s01"])]
)
def test_there_is_a_frame_for_each_namespace_with_workloads(stack: str, clusters: list[str]) -> None:
    frames = {
        frame.name: [group.name for group in frame.services] for frame in read_frames(manifests_of(stack).values())
    }
    servers = [name for cluster in clusters for name in (cluster, f"{cluster}-pooler-ro", f"{cluster}-pooler-rw")]
    assert frames == {
        "cache": ["redis-cluster"],
        "database": sorted([*servers, "postgres-etcd"]),
        "kafka": ["kafka-cluster"],
        "payments": ["database-migrations", "gateway-service", "payment-service", "wallet-service"],
    }


def test_frame_has_the_services_with_their_workloads_api_first() -> None:
    frame = frame_of("dev")
    assert frame.name == "payments"
    assert [(group.name, [item.name for item in group.workloads]) for group in frame.services] == [
        ("database-migrations", ["database-metrics-s00"]),
        ("gateway-service", ["gateway-service", "gateway-processors"]),
        ("payment-service", ["payment-service", "payment-processors"]),
        ("wallet-service", ["wallet-service", "wallet-processors"]),
    ]


def test_servers_are_shown_with_who_may_call_them_and_without_what_their_members_say_to_each_other() -> None:
    frames = {frame.name: frame for frame in read_frames(manifests_of("dev").values())}
    server, etcd = (workload(frames["database"], name) for name in ("postgres-cluster", "postgres-etcd"))
    assert (server.bounds, server.note) == ("3 pods", "postgres-cluster-pods:5432, 8008, 9187")
    assert "postgres-cluster" not in {lane.title for lane in (*server.callers, *server.callees)}
    assert [(lane.title, lane.detail) for lane in server.callees] == [("postgres-etcd", ":2379")]
    assert "postgres-cluster" in {lane.title for lane in etcd.callers}
    brokers = workload(frames["kafka"], "broker")
    assert brokers.bounds == "3 pods"
    assert {"prometheus", "payment-service", "cluster-operator"} <= {lane.title for lane in brokers.callers}


def test_guards_are_told_from_what_is_declared() -> None:
    assert frame_of("dev").guards[:2] == ("default deny egress and ingress", "pod security restricted")
    manifests = [item for item in manifests_of("dev").values() if item["metadata"]["name"] != "default-deny"]
    assert [guard for frame in read_frames(manifests) for guard in frame.guards if "deny" in guard] == []


def test_api_shows_bounds_targets_and_address() -> None:
    api = workload(frame_of("dev"), "payment-service")
    assert api.bounds == "3–20 pods"
    assert api.resource_targets == ("cpu 70 %", "memory 80 %")
    assert "kafka_consumer_lag 1000 per pod" in api.external_targets
    assert api.note == "payment-service-svc:8080"


def test_consumer_shows_topic_and_group_and_only_its_figures_are_read() -> None:
    consumer = workload(frame_of("dev"), "payment-processors")
    assert consumer.bounds == "3–24 pods"
    assert consumer.note == "reads payment-events as payment-service-group"
    assert [(lane.title, lane.detail) for lane in consumer.callers] == [("prometheus", "in monitoring")]


def test_flows_are_those_of_the_settings() -> None:
    frame = frame_of("dev")
    callers = [(lane.title, lane.detail) for lane in workload(frame, "wallet-service").callers]
    assert callers == [
        ("k6", "in loadtest"),
        ("own services", ":8080"),
        ("prometheus", "in monitoring"),
        ("proxy, edge", "in edge"),
    ]
    assert [(lane.title, lane.detail) for lane in workload(frame, "gateway-service").callees] == [
        ("internet", ":443"),
        ("kafka-cluster", "in kafka :9093"),
        ("postgres-cluster-pooler-ro", "in database :5432"),
        ("postgres-cluster-pooler-rw", "in database :5432"),
        ("redis-cluster", "in cache :6379"),
        ("redis-local", "in cache :6379"),
    ]


ONLY_KAFKA = {
    "services/gateway-service/egress_to": ["kafka"],
    "cache": REMOVED,
    "postgres/users/gateway-service": REMOVED,
}


def test_a_flow_that_is_taken_away_leaves_the_picture() -> None:
    before, after = frame_of("dev"), frame_of("dev", ONLY_KAFKA)
    assert {lane.title for lane in workload(before, "gateway-processors").callees} > {"kafka-cluster"}
    assert {lane.title for lane in workload(after, "gateway-processors").callees} == {"kafka-cluster"}


def test_deployment_without_autoscaler_shows_its_replicas() -> None:
    manifests = [item for item in manifests_of("dev").values() if item["kind"] != "HorizontalPodAutoscaler"]
    assert workload(payments(manifests), "wallet-service").bounds == "5 pods"


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_drawing_says_everything_that_the_model_says(stack: str) -> None:
    frames, drawn = read_frames(manifests_of(stack).values()), set(texts(to_svg(recording_of(stack).resources)))
    for item in (item for frame in frames for group in frame.services for item in group.workloads):
        wanted = {item.name, item.bounds, item.note, *item.external_targets} - {""}
        assert wanted <= drawn, f"{item.name} misses {wanted - drawn}"


def test_each_allowed_flow_is_one_dot() -> None:
    frames = read_frames(manifests_of("dev").values())
    items = [item for frame in frames for group in frame.services for item in group.workloads]
    flows = sum(len(item.callers) + len(item.callees) for item in items)
    assert len(dots(to_svg(recording_of("dev").resources))) == flows


def test_same_bytes_whatever_the_order_of_resources() -> None:
    resources = recording_of("dev").resources
    assert to_svg(resources) == to_svg(tuple(reversed(resources)))


def test_everything_lies_inside_the_picture_and_nothing_outside_the_file_is_named() -> None:
    svg = to_svg(recording_of("dev").resources)
    root = ET.fromstring(svg)  # noqa: S314 # our own drawing
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    for element in root:
        for key, limit in (("x", width), ("x1", width), ("cx", width), ("y", height), ("y2", height), ("cy", height)):
            assert 0 <= float(element.attrib.get(key, 0)) <= limit
    assert set(re.findall(r"https?://[^\"]+", svg)) == {"http://www.w3.org/2000/svg"}


def test_text_from_manifests_is_escaped() -> None:
    hostile = '<script>"&'
    manifests: list[Any] = json.loads(json.dumps(list(manifests_of("dev").values())))
    for item in manifests:
        if item["kind"] == "StatefulSet":
            item["metadata"]["labels"]["owner"] = hostile
    assert read_frames(manifests)[0].services[0].owner == hostile
    svg = draw(read_frames(manifests))
    assert "<script>" not in svg
    assert any(hostile in text for text in texts(svg))


def test_a_fourth_service_is_one_more_group() -> None:
    services = dict(platform_of("dev")["services"])
    fourth = json.loads(json.dumps(services["wallet-service"]))
    del fourth["consumer"]
    frame = frame_of("dev", {"services/refund-service": fourth})
    assert [group.name for group in frame.services].count("refund-service") == 1
    assert len(frame.services) == len(frame_of("dev").services) + 1
    assert frame_of("dev").services[0] == frame.services[0]
