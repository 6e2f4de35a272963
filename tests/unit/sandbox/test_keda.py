"""How KEDA is registered and started, without either."""

import ssl
from pathlib import Path

from sandbox import keda
from sandbox.certificates import self_signed
from sandbox.files import write_text
from sandbox.layout import Layout


def test_the_metrics_api_points_to_the_adapter_on_loopback() -> None:
    objects = {each["kind"]: each for each in keda.plan_objects(12345)}
    service, api = objects["Service"], objects["APIService"]
    assert (service["spec"]["type"], service["spec"]["externalName"]) == ("ExternalName", "localhost")
    assert api["metadata"]["name"] == "v1beta1.external.metrics.k8s.io"
    assert api["spec"]["service"] == {**service["metadata"], "port": 12345}


def test_anonymous_requests_may_read_external_metrics_and_nothing_else() -> None:
    objects = {each["kind"]: each for each in keda.plan_objects(1)}
    rules = objects["ClusterRole"]["rules"]
    assert {group for rule in rules for group in rule.get("apiGroups", [])} == {"external.metrics.k8s.io"}
    assert {verb for rule in rules for verb in rule["verbs"]} == {"get", "list"}
    assert all(
        url.startswith("/apis/external.metrics.k8s.io") for rule in rules for url in rule.get("nonResourceURLs", [])
    )


def test_both_listen_on_loopback_only_and_know_no_token(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    write_text(layout.kubeconfig, "server: https://127.0.0.1:1\ntoken: canary\n")
    ports = {name: 1000 + number for number, (name, _) in enumerate(keda._OWNERS)}
    operator = keda._operator(Path("operator"), layout, ports, tmp_path)
    adapter = keda._adapter(Path("adapter"), layout, ports, tmp_path)
    binds = [argument for argument in operator.command if "bind-address" in argument]
    assert len(binds) == 3
    assert all("=127.0.0.1:" in bind for bind in binds)
    assert "--bind-address=127.0.0.1" in adapter.command
    for daemon in (operator, adapter):
        assert "canary" not in f"{daemon.command} {daemon.depends_on} {daemon.environment}"


def test_a_certificate_is_its_own_authority_and_its_key_is_not_shown(tmp_path: Path) -> None:
    pair = self_signed("keda")
    (tmp_path / "ca.crt").write_text(pair.certificate, encoding="utf-8")
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    assert len(context.get_ca_certs()) == 1
    assert "PRIVATE" in pair.key
    assert "PRIVATE" not in repr(pair)
