"""Whether a Service that stands is the one that we would apply."""

import copy
from typing import Any

import pytest
from builders import resource, with_overrides

from specdecode.manifests.service import service, service_digest

WANTED = service(resource())


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        pytest.param({}, True, id="as we applied it"),
        pytest.param({"spec.clusterIP": "10.96.0.7", "spec.sessionAffinity": "None"}, True, id="with defaults"),
        pytest.param({"metadata.labels.team": "search"}, True, id="somebody's label"),
        pytest.param({"metadata.annotations.team": "search"}, True, id="somebody's annotation"),
        pytest.param({"spec.selector": {"app": "theirs"}}, False, id="another selector"),
        pytest.param({"spec.ports": [{"name": "http", "port": 9000}]}, False, id="another port"),
        pytest.param({"spec.type": "NodePort"}, False, id="another type"),
        pytest.param({"metadata.labels": {}}, False, id="without our labels"),
        pytest.param({"metadata.ownerReferences": []}, False, id="without its owner"),
    ],
)
def test_what_is_drift(changes: dict[str, Any], is_same: bool) -> None:  # noqa: FBT001 - a column of the table
    live = with_overrides(copy.deepcopy(WANTED), changes)
    assert (service_digest(live) == service_digest(WANTED)) is is_same
