"""The whole stack, sorted once, so that a cross-object rule looks up instead of searching (2000 objects and
more).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from pulumi_policy import PolicyResource

from policies.label_selectors import Match, selects
from policies.objects import REPLICATED_KINDS, KubernetesObject, parse_object
from policies.scalers import Scaler, parse_scaler
from policies.values import UNKNOWN, fields, read, scalar

_Key = tuple[object, str, object]


@dataclass(slots=True)
class StackIndex:
    """Objects by kind, by identity, and workloads by a label of their pods."""

    by_kind: dict[str, list[KubernetesObject]] = field(default_factory=lambda: defaultdict(list))
    by_identity: dict[_Key, KubernetesObject] = field(default_factory=dict)
    workloads: list[KubernetesObject] = field(default_factory=list)
    scalers: list[Scaler] = field(default_factory=list)
    scalers_by_target: dict[_Key, list[Scaler]] = field(default_factory=lambda: defaultdict(list))
    _pods_by_label: dict[tuple[object, str, object], list[KubernetesObject]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _pods_by_namespace: dict[object, list[KubernetesObject]] = field(default_factory=lambda: defaultdict(list))
    _pods_unlabelled: dict[object, list[KubernetesObject]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, resources: Sequence[PolicyResource]) -> Self:
        """Sort the resources of a stack."""
        index = cls()
        for resource in resources:
            subject = parse_object(
                resource.resource_type,
                resource.name,
                resource.urn,
                declared(resource.props),
                ignore_changes=tuple(resource.opts.ignore_changes),
                stored=read(resource.props, "metadata", "resourceVersion") is not None,
            )
            if subject is not None:
                index.add(subject)
        return index

    def add(self, subject: KubernetesObject) -> None:
        """File one object under everything that rules ask for."""
        self.by_kind[subject.kind].append(subject)
        self.by_identity[(subject.namespace, subject.kind, subject.name)] = subject
        scaler = parse_scaler(subject)
        if scaler is not None:
            self.scalers.append(scaler)
            self.scalers_by_target[(subject.namespace, scaler.target_kind, scaler.target_name)].append(scaler)
        if subject.has_pods:
            self.workloads.append(subject)
            self._file_pods(subject)

    def _file_pods(self, subject: KubernetesObject) -> None:
        self._pods_by_namespace[subject.namespace].append(subject)
        labels = subject.pod_labels
        pairs = {key: scalar(value) for key, value in fields(labels).items()}
        if labels is UNKNOWN or UNKNOWN in pairs.values():
            self._pods_unlabelled[subject.namespace].append(subject)
            return
        for key, value in pairs.items():
            self._pods_by_label[(subject.namespace, key, value)].append(subject)

    def replicated_workloads(self) -> list[KubernetesObject]:
        """Return the workloads whose number of pods is a field of theirs."""
        return [subject for subject in self.workloads if subject.kind in REPLICATED_KINDS]

    def scalers_of(self, subject: KubernetesObject) -> list[Scaler]:
        """Return the scalers that name this workload."""
        return self.scalers_by_target.get((subject.namespace, subject.kind, subject.name), [])

    def might_be_target(self, namespace: object, kind: str) -> bool:
        """Tell whether an object of this kind has a name or namespace that is not known yet."""
        return any(
            subject.name is UNKNOWN or subject.namespace is UNKNOWN or namespace is UNKNOWN
            for subject in self.by_kind.get(kind, [])
        )

    def selected(self, namespace: object, selector: object) -> Iterator[tuple[KubernetesObject, Match]]:
        """Yield the workloads whose pods a LabelSelector selects, or may select (`UNKNOWN`)."""
        for subject in self._candidates(namespace, selector):
            answer = selects(selector, subject.pod_labels)
            if answer is not False:
                yield subject, answer
        for subject in self._pods_by_namespace.get(UNKNOWN, []) if namespace is not UNKNOWN else []:
            if selects(selector, subject.pod_labels) is not False:
                yield subject, UNKNOWN

    def some_namespace_unknown(self, kind: str) -> bool:
        """Tell whether an object of this kind may lie in any namespace."""
        return any(subject.namespace is UNKNOWN for subject in self.by_kind.get(kind, []))

    def _candidates(self, namespace: object, selector: object) -> list[KubernetesObject]:
        for key, value in fields(read(selector, "matchLabels")).items():
            if isinstance(value, str):
                return self._pods_by_label.get((namespace, key, value), []) + self._pods_unlabelled.get(namespace, [])
        return self._pods_by_namespace.get(namespace, [])


def declared(props: object) -> object:
    """Return what the program asked for where the provider keeps it beside the live object, else the
    properties.

    Stack policies see outputs: the API server has filled in defaults, and `spec.replicas` is what a scaler
    last set.
    """
    inputs = read(props, "__inputs")
    return props if inputs is None or inputs is UNKNOWN else inputs
