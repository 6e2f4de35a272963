"""Patroni's and PgBouncer's files, found in the ConfigMaps of a stack and read as data."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from policies.index import StackIndex
from policies.objects import KubernetesObject
from policies.values import elements, fields, read, text

POOLER_FILE = "pgbouncer.ini"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """One file of a ConfigMap as data."""

    config_map: KubernetesObject
    name: str
    content: Mapping[str, object]

    @property
    def dynamic(self) -> Mapping[str, object] | None:
        """Patroni's dynamic configuration: under `bootstrap.dcs`, or the whole file of a reconfiguration."""
        found = read(self.content, "bootstrap", "dcs")
        if isinstance(found, Mapping):
            return found
        return self.content if "loop_wait" in self.content and "ttl" in self.content else None

    @property
    def is_member(self) -> bool:
        """Whether it is a member's own configuration."""
        return text(read(self.content, "scope")) is not None and "postgresql" in self.content


def config_files(config_map: KubernetesObject) -> Iterator[ConfigFile]:
    """Yield the YAML and JSON files that hold a mapping; one that cannot be read is no configuration of these."""
    for name, value in fields(read(config_map.props, "data")).items():
        content = text(value)
        if content is None or not name.endswith((".yml", ".yaml", ".json")):
            continue
        try:
            found = json.loads(content) if name.endswith(".json") else yaml.safe_load(content)
        except (json.JSONDecodeError, yaml.YAMLError):
            continue
        if isinstance(found, Mapping):
            yield ConfigFile(config_map, name, found)


def mounted_config_maps(index: StackIndex, workload: KubernetesObject) -> Iterator[KubernetesObject]:
    """Yield the ConfigMaps that a workload's pods mount, projected ones included."""
    names = set()
    for volume in elements(read(workload.pod_spec, "volumes")):
        names.add(text(read(volume, "configMap", "name")))
        for source in elements(read(volume, "projected", "sources")):
            names.add(text(read(source, "configMap", "name")))
    for name in sorted(name for name in names if name is not None):
        found = index.by_identity.get((workload.namespace, "ConfigMap", name))
        if found is not None:
            yield found


def patroni_workloads(index: StackIndex) -> Iterator[tuple[KubernetesObject, ConfigFile]]:
    """Yield each StatefulSet that runs Patroni with its member's configuration."""
    for workload in index.by_kind.get("StatefulSet", []):
        files = (file for found in mounted_config_maps(index, workload) for file in config_files(found))
        member = next((file for file in files if file.is_member), None)
        if member is not None:
            yield workload, member


@dataclass(frozen=True, slots=True)
class PoolerFile:
    """pgbouncer.ini: its databases and its options, in lower case."""

    databases: Mapping[str, Mapping[str, str]]
    options: Mapping[str, str]


def parse_pooler(content: str) -> PoolerFile:
    """Read the sections [databases] and [pgbouncer]; the last value of an option counts, as for PgBouncer."""
    databases: dict[str, Mapping[str, str]] = {}
    options: dict[str, str] = {}
    section = ""
    for raw in content.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line and not line.startswith((";", "#", "%")):
            name, value = (part.strip() for part in line.split("=", 1))
            if section == "databases":
                databases[name] = dict(pair.split("=", 1) for pair in value.split() if "=" in pair)
            elif section == "pgbouncer":
                options[name.lower()] = value
    return PoolerFile(databases, options)
