"""What a user may add to the pods. Labels that Kubernetes tools own are refused: children that carry them are pruned or
shown as out of sync (argoproj/argo-cd#8683).
"""

import re
from typing import Annotated, ClassVar

from pydantic import Field

from specdecode.api.base import ApiModel, Rule
from specdecode.api.values import DnsName, LabelKey, LabelValue

_RESERVED_PREFIXES = (
    "app.kubernetes.io/",
    "specdecode.io/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "kubectl.kubernetes.io/",
)
_KEY = r"^([a-z0-9]([a-z0-9.\-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.\-]*[A-Za-z0-9])?$"

AnnotationValue = Annotated[str, Field(max_length=1024)]


def _keys_are_free(keys: dict[str, str]) -> bool:
    return all(re.fullmatch(_KEY, key) and not key.startswith(_RESERVED_PREFIXES) for key in keys)


def _cel_keys_are_free(name: str) -> str:
    prefixes = "[" + ", ".join(f"'{prefix}'" for prefix in _RESERVED_PREFIXES) + "]"
    return (
        f"!has(self.{name}) || self.{name}.all(key, key.size() <= 180 && key.matches(r'{_KEY}') "
        f"&& !{prefixes}.exists(prefix, key.startsWith(prefix)))"
    )


class Toleration(ApiModel):
    """A toleration, as in a pod."""

    key: LabelKey | None = None
    """Taint key; omitted with operator Exists: every taint."""
    operator: Annotated[str, Field(pattern=r"^(Exists|Equal)$", max_length=6)] = "Equal"
    """Exists or Equal."""
    value: LabelValue | None = None
    """Taint value."""
    effect: Annotated[str, Field(pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] | None = None
    """Omitted: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0, le=86_400)] | None = None
    """Only for NoExecute."""


class PodTemplateSpec(ApiModel):
    """What is added to the pods of the engine."""

    rules: ClassVar = tuple(
        Rule(
            cel=_cel_keys_are_free(name),
            message=f"{name} must be valid label keys outside app.kubernetes.io/, specdecode.io/ and the prefixes of "
            "Argo CD, Flux, Helm and kubectl",
            holds=lambda template, name=name: _keys_are_free(getattr(template, name)),
            field_path=f".{name}",
        )
        for name in ("labels", "annotations")
    )

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Further labels of the pods."""
    annotations: Annotated[dict[str, AnnotationValue], Field(max_length=32)] = {}
    """Further annotations of the pods."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Further node labels that a node must carry."""
    tolerations: Annotated[
        tuple[Toleration, ...], Field(max_length=32, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = ()
    """Taints that the pods tolerate."""
    service_account_name: DnsName | None = None
    """ServiceAccount of the pods; its token is not mounted."""
    priority_class_name: DnsName | None = None
    """PriorityClass of the pods."""
    runtime_class_name: DnsName | None = None
    """RuntimeClass of the pods, for example `nvidia`."""
