"""A new operator on a cluster that an older one left: no engine restarts unasked, nothing stored becomes invalid.

A restart costs minutes without service on GPUs that cannot be doubled. One that is worth it is announced: the changelog
names it under "Restarts engine pods", as `- example/mode: why`. So is a rule that a stored resource may break, under
"Narrows the resource", as `- path: why`.
"""

import copy
import re
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

import pytest
import yaml
from upgrade.additive import breaks
from upgrade.releases import ROOT, hashes, newest, resources_in, templates

from specdecode.api.schema import custom_resource_definition

RELEASE = newest()
RESOURCES = sorted((RELEASE / "resources").glob("*.yaml"))


def announced(changelog: str, title: str) -> tuple[str, ...]:
    """The patterns under a title of the version that is not released yet."""
    coming = changelog.split("\n## ")[1]
    found = re.search(rf"### {title}\n(.*?)(?=\n### |\Z)", coming, flags=re.DOTALL)
    lines = found[1].splitlines() if found else []
    return tuple(line.removeprefix("- ").split(":", 1)[0].strip("` ") for line in lines if line.startswith("- "))


CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_what_is_announced_is_read_from_the_coming_version_alone() -> None:
    coming = "## [2]\n\n### Restarts engine pods\n\n- `llama/*`: a flag\n- eagle3/Draft: why\n\n### Fixed\n\n- x: y\n"
    text = f"# Changelog\n\n{coming}"
    older = "\n## [1]\n\n### Narrows the resource\n\n- spec.model: why\n"
    assert announced(text + older, "Restarts engine pods") == ("llama/*", "eagle3/Draft")
    assert announced(text + older, "Narrows the resource") == ()


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_no_pod_template_changes_unannounced(path: Any) -> None:
    (body,) = resources_in(path)
    before = yaml.safe_load((RELEASE / "templates" / path.name).read_text(encoding="utf-8"))
    after = templates(body)
    changed = {mode for mode in before if after.get(mode) != before[mode]}
    said = announced(CHANGELOG, "Restarts engine pods")
    silent = {mode for mode in changed if not any(fnmatch(f"{path.stem}/{mode}", each) for each in said)}
    assert not silent, f"pods of {path.stem} would restart; if it is worth it, say so in CHANGELOG.md: {sorted(silent)}"


def test_what_selects_pods_never_changes() -> None:
    """A Deployment's selector is immutable: no announcement makes another one possible."""
    for path in RESOURCES:
        (body,) = resources_in(path)
        before = yaml.safe_load((RELEASE / "templates" / path.name).read_text(encoding="utf-8"))
        after = templates(body)
        assert {mode: each["selector"] for mode, each in before.items()} == {
            mode: each["selector"] for mode, each in after.items() if mode in before
        }


@pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path.stem)
def test_no_rollback_is_forgotten_and_no_baseline_is_lost(path: Any) -> None:
    """A rollback holds for a hash of the spec: another hash would try again what was turned off, everywhere at once."""
    before = yaml.safe_load((RELEASE / "hashes.yaml").read_text(encoding="utf-8"))
    (body,) = resources_in(path)
    assert hashes(body) == before[path.stem]


def released_crd() -> dict[str, Any]:
    crd: dict[str, Any] = yaml.safe_load((RELEASE / "crd.yaml").read_text(encoding="utf-8"))
    return crd


def test_the_crd_only_grows() -> None:
    said = announced(CHANGELOG, "Narrows the resource")
    found = breaks(released_crd(), custom_resource_definition())
    assert [each for each in found if not any(fnmatch(each.partition(": ")[0], pattern) for pattern in said)] == []


def spec_of(crd: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def _without_a_field(crd: dict[str, Any]) -> None:
    del spec_of(crd)["properties"]["guard"]["properties"]["window"]


def _of_another_type(crd: dict[str, Any]) -> None:
    spec_of(crd)["properties"]["replicas"]["type"] = "string"


def _without_a_value(crd: dict[str, Any]) -> None:
    spec_of(crd)["properties"]["guard"]["properties"]["action"]["enum"].remove("Recommend")


def _with_a_duty(crd: dict[str, Any]) -> None:
    spec_of(crd).setdefault("required", []).append("guard")


def _with_a_lower_limit(crd: dict[str, Any]) -> None:
    spec_of(crd)["properties"]["replicas"]["maximum"] = 1


def _with_a_pattern(crd: dict[str, Any]) -> None:
    spec_of(crd)["properties"]["model"]["properties"]["name"]["pattern"] = "^only-this$"


def _with_a_rule(crd: dict[str, Any]) -> None:
    spec_of(crd).setdefault("x-kubernetes-validations", []).append({"rule": "self.replicas > 1", "message": "no"})


def _with_another_default(crd: dict[str, Any]) -> None:
    spec_of(crd)["properties"]["guard"]["properties"]["window"]["default"] = "1h"


def _with_a_default(crd: dict[str, Any]) -> None:
    spec_of(crd)["properties"]["replicas"]["default"] = 1


def _with_less_allowed(crd: dict[str, Any]) -> None:
    rule = spec_of(crd)["properties"]["accelerator"]["x-kubernetes-validations"][0]
    rule["rule"] = rule["rule"].replace("'NVIDIA-L40S', ", "")


def _with_more_denied(crd: dict[str, Any]) -> None:
    rules = spec_of(crd)["properties"]["engine"]["properties"]["extraArgs"]["items"]["x-kubernetes-validations"]
    rules[0]["rule"] = rules[0]["rule"].replace("['", "['no-longer', '", 1)


def _scaled_elsewhere(crd: dict[str, Any]) -> None:
    crd["spec"]["versions"][0]["subresources"]["scale"]["statusReplicasPath"] = ".status.pods"


def _pruned(crd: dict[str, Any]) -> None:
    spec_of(crd)["x-kubernetes-preserve-unknown-fields"] = True


def _without_scale(crd: dict[str, Any]) -> None:
    del crd["spec"]["versions"][0]["subresources"]["scale"]


def _not_served(crd: dict[str, Any]) -> None:
    crd["spec"]["versions"][0]["served"] = False


def _without_its_short_name(crd: dict[str, Any]) -> None:
    crd["spec"]["names"]["shortNames"] = []


def _cluster_wide(crd: dict[str, Any]) -> None:
    crd["spec"]["scope"] = "Cluster"


def _of_another_kind(crd: dict[str, Any]) -> None:
    crd["spec"]["names"]["kind"] = "Other"


def _with_a_list_of_another_kind(crd: dict[str, Any]) -> None:
    spec_of(crd)["properties"]["engine"]["properties"]["extraArgs"]["x-kubernetes-list-type"] = "set"


def _with_few_values(crd: dict[str, Any]) -> None:
    spec_of(crd)["properties"]["model"]["properties"]["servedName"]["enum"] = ["a"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_a_field, "guard.window: the field is gone"),
        (_of_another_type, "replicas: type was integer and is string"),
        (_without_a_value, "the value Recommend is gone"),
        (_with_a_duty, "guard is required now"),
        (_with_a_lower_limit, "replicas: maximum was"),
        (_with_a_pattern, "model.name: the pattern was"),
        (_with_a_rule, "a new rule: self.replicas > 1"),
        (_with_another_default, "guard.window: the default was"),
        (_with_a_default, "replicas: the default was None and is 1"),
        (_with_less_allowed, "accelerator: a new rule: has(self.memory)"),
        (_with_more_denied, "extraArgs[]: a new rule"),
        (_scaled_elsewhere, "the subresource scale is gone or another"),
        (_pruned, "x-kubernetes-preserve-unknown-fields was"),
        (_without_scale, "the subresource scale is gone"),
        (_not_served, "no longer served"),
        (_without_its_short_name, "the short name sdd is gone"),
        (_cluster_wide, "scope was Namespaced and is Cluster"),
        (_of_another_kind, "names.kind was SpecDecodeDeployment and is Other"),
        (_with_a_list_of_another_kind, "x-kubernetes-list-type was"),
        (_with_few_values, "only some values are allowed now"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_way_to_break_a_crd_is_seen(change: Callable[[dict[str, Any]], None], words: str) -> None:
    broken = copy.deepcopy(custom_resource_definition())
    change(broken)
    assert any(words in each for each in breaks(custom_resource_definition(), broken))


def test_growth_is_no_break() -> None:
    grown = copy.deepcopy(custom_resource_definition())
    spec_of(grown)["properties"]["mood"] = {"type": "string"}
    guard = spec_of(grown)["properties"]["guard"]
    guard["properties"]["action"]["enum"].append("Dream")
    guard["properties"]["patience"] = {"type": "integer", "default": 3}
    guard["default"]["patience"] = 3
    known = spec_of(grown)["properties"]["accelerator"]["x-kubernetes-validations"][0]
    known["rule"] = known["rule"].replace("'NVIDIA-L40S'", "'NVIDIA-L40S', 'NVIDIA-NEXT'")
    assert breaks(custom_resource_definition(), grown) == ()
