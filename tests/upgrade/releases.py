"""What a release did: for resources as people have them, the pod templates that ran, what decisions and measurements
were bound to, and the CRD.

    python tests/upgrade/releases.py 0.1.0     records the release that is checked out

A folder below tests/data/releases is written once, when the release is made, and never again.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from specdecode.api.resource import SpecDecodeDeployment, parse
from specdecode.api.schema import custom_resource_definition
from specdecode.manifests.build import Options, build
from specdecode.plan.make import make_plan
from specdecode.plan.types import Plan

ROOT = Path(__file__).parents[2]
RELEASES = ROOT / "tests" / "data" / "releases"
EXAMPLES = ROOT / "examples"


class _Dumper(yaml.SafeDumper):
    """Writes out what occurs twice, instead of an alias."""

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True


def resources_in(path: Path) -> Iterator[dict[str, Any]]:
    """The SpecDecodeDeployments of a file."""
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        if document and document.get("kind") == "SpecDecodeDeployment":
            yield document


def _planned(body: Mapping[str, Any]) -> tuple[SpecDecodeDeployment, Plan]:
    resource = parse({**body, "metadata": {"namespace": "default", "uid": "uid", "generation": 1, **body["metadata"]}})
    assert isinstance(resource, SpecDecodeDeployment), str(resource)
    plan = make_plan(resource)
    assert isinstance(plan, Plan), str(plan)
    return resource, plan


def hashes(body: Mapping[str, Any]) -> dict[str, str]:
    """What a rollback, a recorded speed and a recorded acceptance are bound to."""
    resource, plan = _planned(body)
    return {"specHash": resource.spec_hash, "baselineKey": plan.baseline_key, "draftKey": plan.draft_key}


def templates(body: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """By mode and arm (`Draft/main`): what a Deployment's pods are made of, and what selects them."""
    resource, plan = _planned(body)
    found = {}
    for mode, objects in build(resource, plan, Options()).items():
        for arm, deployment in (("main", objects.deployment), ("control", objects.control)):
            if deployment is not None:
                found[f"{mode}/{arm}"] = {part: deployment["spec"][part] for part in ("selector", "template")}
    return found


def newest() -> Path:
    """The last release that was recorded."""
    releases = [path for path in RELEASES.iterdir() if path.is_dir()]
    return max(releases, key=lambda path: tuple(int(part) for part in path.name.split(".")))


def _dump(value: object) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=True, width=120, allow_unicode=True)


def record(release: str) -> Path:
    """Write the folder of a release. Raises FileExistsError when there is one."""
    folder = RELEASES / release
    for part in ("resources", "templates"):
        (folder / part).mkdir(parents=True)
    (folder / "crd.yaml").write_text(_dump(custom_resource_definition()), encoding="utf-8")
    bound = {}
    for path in sorted(EXAMPLES.rglob("*.yaml")):
        for body in resources_in(path):
            name = "-".join(path.relative_to(EXAMPLES).with_suffix("").parts)
            bound[name] = hashes(body)
            (folder / "resources" / f"{name}.yaml").write_text(_dump(body), encoding="utf-8")
            (folder / "templates" / f"{name}.yaml").write_text(_dump(templates(body)), encoding="utf-8")
    (folder / "hashes.yaml").write_text(_dump(bound), encoding="utf-8")
    return folder


if __name__ == "__main__":
    asked = sys.argv[1]
    if "--again" in sys.argv[2:]:
        # Only before the release is out.
        shutil.rmtree(RELEASES / asked, ignore_errors=True)
    sys.stdout.write(f"{record(asked)}\n")
