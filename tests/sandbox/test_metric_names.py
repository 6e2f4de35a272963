"""Names of the catalogue against the pinned sources of those who export them, where a registry serves the sources."""

import re
from collections.abc import Iterator

from components.observability.catalogue import Source
from components.observability.known import METRICS
from sandbox.gobuild import GoModule, source_folder

# Fields of one metric as Prometheus' Go client has them; the namespace may be a constant of the package.
_FIELD = re.compile(r'\b(Namespace|Subsystem|Name):\s*(?:"([^"]*)"|(\w+))')
_CONSTANT = re.compile(r'^\s*(\w+)\s*=\s*"([a-z_]+)"', re.MULTILINE)
_LITERAL = re.compile(r'\bname:\s*"([a-z_]+)"')


def _module(folder: str, requires: str) -> GoModule:
    return GoModule(folder=folder, requires=requires, packages={f"the names of {requires}": ""}, ldflags="")


def _files(module: GoModule, folder: str) -> str:
    files = sorted((source_folder(module) / folder).glob("*.go"))
    texts = [path.read_text(encoding="utf-8") for path in files if not path.name.endswith("_test.go")]
    assert texts, f"{module.requires} {module.version} has no sources in {folder}"
    return "\n".join(texts)


def composed(text: str) -> Iterator[str]:
    """Whole names: namespace, subsystem and name in the order in which Go's client joins them."""
    constants = dict(_CONSTANT.findall(text))
    parts: dict[str, str] = {}
    for field, literal, constant in _FIELD.findall(text):
        parts[field] = literal or constants.get(constant, "")
        if field == "Name":
            yield "_".join(value for key in ("Namespace", "Subsystem", "Name") if (value := parts.get(key)))
            parts = {}


def _catalogue(source: Source, prefix: str) -> set[str]:
    return {metric.name for metric in METRICS if metric.source is source and metric.name.startswith(prefix)}


def test_keda() -> None:
    exported = set(composed(_files(_module("keda", "github.com/kedacore/keda/v2"), "pkg/metricscollector")))
    wanted = _catalogue(Source.KEDA, "keda_")
    assert wanted
    assert wanted <= exported


def test_alertmanager() -> None:
    exported = set(composed(_files(_module("alertmanager", "github.com/prometheus/alertmanager"), "notify")))
    wanted = _catalogue(Source.PROMETHEUS, "alertmanager_")
    assert wanted
    assert wanted <= exported


def test_containers() -> None:
    exported = set(_LITERAL.findall(_files(_module("kubernetes", "github.com/google/cadvisor"), "metrics")))
    wanted = _catalogue(Source.KUBERNETES, "container_")
    assert wanted
    assert wanted <= exported


def test_kubelet() -> None:
    constants = dict(_CONSTANT.findall(_files(_module("kubernetes", "k8s.io/kubernetes"), "pkg/kubelet/metrics")))
    exported = {f"{constants['KubeletSubsystem']}_{value}" for value in constants.values()}
    wanted = _catalogue(Source.KUBERNETES, "kubelet_")
    assert wanted
    assert wanted <= exported


def test_etcd() -> None:
    module = _module("etcd", "go.etcd.io/etcd/server/v3")
    folders = ("etcdserver", "storage", "storage/mvcc", "storage/wal")
    exported = {name for folder in folders for name in composed(_files(module, folder))}
    wanted = _catalogue(Source.ETCD, "etcd_")
    assert wanted
    assert wanted <= exported


def test_a_name_is_put_together_as_go_does_it() -> None:
    text = '\tTop = "keda"\n x := Opts{Namespace: Top, Subsystem: "scaler", Name: "active"}\n y := Opts{Name: "alone"}'
    assert list(composed(text)) == ["keda_scaler_active", "alone"]
