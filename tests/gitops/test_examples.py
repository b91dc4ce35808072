"""The examples for Argo CD and Flux: what they name exists, and what is copied into them is what is shipped.

`UPDATE_GOLDEN=1 pytest tests/gitops` writes the ConfigMap anew.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from gitops import argocd
from typer.testing import CliRunner

from specdecode.api.vocabulary import API_VERSION, KIND
from specdecode.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples" / "gitops"
FILES = sorted(EXAMPLES.rglob("*.yaml"))
CONFIG_MAP = EXAMPLES / "argocd" / "argocd-cm.yaml"
HEAD = """\
# Argo CD's health check and actions for SpecDecodeDeployments: two keys to merge into its own ConfigMap.
#   kubectl apply --server-side -f argocd-cm.yaml
# Made from the Lua files of the chart, which `helm template --set argocd.enabled=true` shows as well.
"""


class _Block(str):
    """A text that is written as a block."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """With blocks."""


_Dumper.add_representer(_Block, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|"))


def dumped(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=200)


def config_map() -> dict[str, Any]:
    """The customization as it goes into argocd-cm."""
    definitions = [
        {"name": name, "action.lua": _Block(argocd.script("actions", name, "action.lua"))} for name in argocd.ACTIONS
    ]
    actions = {"discovery.lua": _Block(argocd.script("actions", "discovery.lua")), "definitions": definitions}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "argocd-cm",
            "namespace": "argocd",
            "labels": {"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"},
        },
        "data": {
            f"resource.customizations.health.{argocd.KEY}": _Block(argocd.script("health.lua")),
            f"resource.customizations.actions.{argocd.KEY}": _Block(dumped(actions)),
        },
    }


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for path in FILES for document in documents(path) if document["kind"] == kind]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(EXAMPLES)) for path in FILES])
def test_an_example_is_yaml_says_what_it_is_for_and_names_its_objects(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")
    for document in documents(path):
        assert {"apiVersion", "kind", "metadata"} <= set(document)
        assert "name" in document["metadata"]
        assert ("namespace" in document["metadata"]) is (document["kind"] != "Namespace")


def test_the_config_map_has_the_scripts_that_are_tested() -> None:
    text = HEAD + dumped(config_map())
    if os.environ.get("UPDATE_GOLDEN"):
        CONFIG_MAP.write_text(text, encoding="utf-8")
    assert CONFIG_MAP.read_text(encoding="utf-8") == text


def test_the_actions_in_the_config_map_can_be_read_back() -> None:
    (found,) = documents(CONFIG_MAP)
    actions = yaml.safe_load(found["data"][f"resource.customizations.actions.{argocd.KEY}"])
    assert [definition["name"] for definition in actions["definitions"]] == argocd.ACTIONS
    assert argocd.run(actions["discovery.lua"], {"metadata": {}})["pause"]["disabled"] is False


def test_the_deployment_fits_and_renders() -> None:
    path = EXAMPLES / "serving" / "llama-70b.yaml"
    for command in ("plan", "render"):
        result = CliRunner().invoke(app, [command, "-f", str(path)])
        assert (result.exit_code, result.stderr) == (0, ""), result.output


def test_both_tools_install_the_same_chart_in_the_same_version_and_serve_the_same_folder() -> None:
    (chart,) = of_kind("OCIRepository")
    sources = {app["metadata"]["name"]: app["spec"]["source"] for app in of_kind("Application")}
    assert chart["spec"]["url"] == sources["specdecode-operator"]["repoURL"]
    assert chart["spec"]["ref"]["tag"] == sources["specdecode-operator"]["targetRevision"]
    paths = [kustomization["spec"]["path"] for kustomization in of_kind("Kustomization")]
    assert f"./{sources['serving']['path']}" in paths
    assert EXAMPLES.parents[1].joinpath(sources["serving"]["path"]).is_dir()


def test_flux_asks_for_the_kind_that_is_served() -> None:
    checks = [check for found in of_kind("Kustomization") for check in found["spec"].get("healthCheckExprs", [])]
    assert [(check["apiVersion"], check["kind"]) for check in checks] == [(API_VERSION, KIND)]
