"""What a user may add to the pods. What the API server would refuse in a pod is refused here already, where a person
sees it. Labels that Kubernetes tools own are refused too: children that carry them are pruned or shown as out of sync
(argoproj/argo-cd#8683).
"""

import re
from typing import Annotated, ClassVar

from pydantic import Field

from specdecode.api.base import ApiModel, Rule, cel_list
from specdecode.api.values import LABEL_KEY, MAX_LABEL_KEY, DnsName, Integer, LabelKey, LabelValue

_RESERVED_PREFIXES = (
    "app.kubernetes.io/",
    "specdecode.io/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "kubectl.kubernetes.io/",
)
PRODUCT_LABEL = "nvidia.com/gpu.product"
"""The node label that `spec.accelerator.product` stands for (GPU feature discovery)."""

AnnotationValue = Annotated[str, Field(max_length=1024)]


def _is_label_key(key: str) -> bool:
    return len(key) <= MAX_LABEL_KEY and re.fullmatch(LABEL_KEY, key) is not None


def _cel_all_keys(name: str, condition: str) -> str:
    is_label_key = f"key.size() <= {MAX_LABEL_KEY} && key.matches(r'{LABEL_KEY}')"
    return f"!has(self.{name}) || self.{name}.all(key, {is_label_key} && {condition})"


def _keys_are_free(name: str) -> Rule:
    def holds(template: "PodTemplateSpec") -> bool:
        keys: dict[str, str] = getattr(template, name)
        return all(_is_label_key(key) and not key.startswith(_RESERVED_PREFIXES) for key in keys)

    return Rule(
        cel=_cel_all_keys(name, f"!{cel_list(_RESERVED_PREFIXES)}.exists(prefix, key.startsWith(prefix))"),
        message=f"{name} must be valid label keys outside app.kubernetes.io/, specdecode.io/ and the prefixes of "
        "Argo CD, Flux, Helm and kubectl",
        holds=holds,
        field_path=f".{name}",
    )


class Toleration(ApiModel):
    """A toleration, as in a pod."""

    rules: ClassVar = (
        Rule(
            cel="has(self.key) || self.operator == 'Exists'",
            message="a toleration without key must have operator Exists; set key, or operator: Exists",
            holds=lambda toleration: toleration.key is not None or toleration.operator == "Exists",
            field_path=".operator",
        ),
        Rule(
            cel="!has(self.value) || self.operator == 'Equal'",
            message="a toleration with operator Exists must have no value; remove value, or set operator: Equal",
            holds=lambda toleration: toleration.value is None or toleration.operator == "Equal",
            field_path=".value",
        ),
        Rule(
            cel="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="tolerationSeconds needs effect NoExecute; set effect: NoExecute, or remove tolerationSeconds",
            holds=lambda toleration: toleration.toleration_seconds is None or toleration.effect == "NoExecute",
            field_path=".tolerationSeconds",
        ),
    )

    key: LabelKey | None = None
    """Taint key; omitted with operator Exists: every taint."""
    operator: Annotated[str, Field(pattern=r"^(Exists|Equal)$", max_length=6)] = "Equal"
    """Exists or Equal."""
    value: LabelValue | None = None
    """Taint value."""
    effect: Annotated[str, Field(pattern=r"^(NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] | None = None
    """Omitted: every effect."""
    toleration_seconds: Annotated[Integer, Field(ge=0, le=86_400)] | None = None
    """Only for NoExecute."""


class PodTemplateSpec(ApiModel):
    """What is added to the pods of the engine."""

    rules: ClassVar = (
        _keys_are_free("labels"),
        _keys_are_free("annotations"),
        Rule(
            cel=_cel_all_keys("nodeSelector", f"key != '{PRODUCT_LABEL}'"),
            message=f"nodeSelector must be valid label keys other than {PRODUCT_LABEL}, which "
            "spec.accelerator.product sets",
            holds=lambda template: all(_is_label_key(key) and key != PRODUCT_LABEL for key in template.node_selector),
            field_path=".nodeSelector",
        ),
    )

    labels: Annotated[dict[str, LabelValue], Field(max_length=32, default_factory=dict)]
    """Further labels of the pods."""
    annotations: Annotated[dict[str, AnnotationValue], Field(max_length=32, default_factory=dict)]
    """Further annotations of the pods."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32, default_factory=dict)]
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
