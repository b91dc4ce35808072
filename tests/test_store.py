"""What the watch has said, by resource."""

from typing import Any

import pytest
from builders import body

from specdecode.store import Store, owner_key

KEY = ("serving", "llama-70b")


def child(name: str = "llama-70b", labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "serving",
            "resourceVersion": "5",
            "creationTimestamp": "2026-11-22T12:00:00Z",
            "labels": {"specdecode.io/deployment": "llama-70b"} if labels is None else labels,
            "managedFields": [{"manager": "x"}],
        },
        "spec": {},
    }


def resource() -> dict[str, Any]:
    return body(**{"metadata.resourceVersion": "9", "metadata.managedFields": [{"manager": "x"}]})


def test_a_resource_is_known_from_its_first_event_to_its_deletion() -> None:
    store = Store()
    assert store.take_resource(resource(), is_deleted=False) == KEY
    assert (store.known(), store.versions()) == ([KEY], {KEY: "9"})
    assert store.take_resource(resource(), is_deleted=True) == KEY
    assert (store.known(), store.entry(KEY)) == ([], None)


def test_the_bookkeeping_of_field_managers_is_not_kept() -> None:
    store = Store()
    store.take_resource(resource(), is_deleted=False)
    store.put_deployment(child(), is_deleted=False)
    entry = store.entry(KEY)
    assert entry is not None
    assert entry.body is not None
    assert entry.deployment is not None
    assert "managedFields" not in entry.body["metadata"]
    assert "managedFields" not in entry.deployment["metadata"]


def test_children_that_come_before_their_resource_are_kept_for_it() -> None:
    store = Store()
    assert store.put_deployment(child(), is_deleted=False) == KEY
    assert store.put_service(child(), is_deleted=False) == KEY
    assert store.put_config_map(child("llama-70b-meter-1"), is_deleted=False) == KEY
    assert store.put_pod(child("llama-70b-abc"), is_deleted=False) == KEY
    assert store.known() == []
    store.take_resource(resource(), is_deleted=False)
    entry = store.entry(KEY)
    assert entry is not None
    assert entry.deployment is not None
    assert (list(entry.services), list(entry.pods)) == (["llama-70b"], ["llama-70b-abc"])
    assert list(entry.meters) == ["llama-70b-meter-1"]


def test_deleted_children_are_forgotten() -> None:
    store = Store()
    store.take_resource(resource(), is_deleted=False)
    for is_deleted in (False, True):
        store.put_deployment(child(), is_deleted=is_deleted)
        store.put_service(child(), is_deleted=is_deleted)
        store.put_config_map(child("llama-70b-meter-1"), is_deleted=is_deleted)
        store.put_pod(child("llama-70b-abc"), is_deleted=is_deleted)
    entry = store.entry(KEY)
    assert entry is not None
    assert (entry.deployment, entry.services, entry.pods, entry.meters) == (None, {}, {}, {})


def test_objects_without_our_label_belong_to_nobody() -> None:
    store = Store()
    stranger = child(labels={})
    assert store.put_deployment(stranger, is_deleted=False) is None
    assert store.put_service(stranger, is_deleted=False) is None
    assert store.put_config_map(stranger, is_deleted=False) is None
    assert store.put_pod(stranger, is_deleted=False) is None


CONTROL_LABELS = {"specdecode.io/deployment": "llama-70b", "specdecode.io/arm": "control"}


def test_the_arms_are_kept_apart_and_pods_of_the_control_arm_are_nobodys_business() -> None:
    store = Store()
    store.take_resource(resource(), is_deleted=False)
    assert store.put_deployment(child("llama-70b-control", CONTROL_LABELS), is_deleted=False) == KEY
    assert store.put_pod(child("llama-70b-control-abc", CONTROL_LABELS), is_deleted=False) is None
    entry = store.entry(KEY)
    assert entry is not None
    assert (entry.deployment, entry.pods) == (None, {})
    assert entry.control is not None
    assert entry.control["metadata"]["name"] == "llama-70b-control"
    store.put_deployment(child("llama-70b-control", CONTROL_LABELS), is_deleted=True)
    assert entry.control is None


def test_a_deployment_of_another_name_is_not_the_one_we_own() -> None:
    store = Store()
    assert store.put_deployment(child("llama-70b-copy"), is_deleted=False) is None


def test_a_config_map_of_another_name_is_no_meter_and_no_text_is_kept() -> None:
    store = Store()
    store.take_resource(resource(), is_deleted=False)
    assert store.put_config_map(child("prompts"), is_deleted=False) is None
    store.put_config_map(child("llama-70b-meter-1") | {"data": {"specdecode_meter.py": "x" * 9000}}, is_deleted=False)
    entry = store.entry(KEY)
    assert entry is not None
    assert entry.meters["llama-70b-meter-1"]["name"] == "llama-70b-meter-1"
    assert "xxx" not in str(entry.meters)


def test_what_a_fresh_list_does_not_have_is_missing() -> None:
    store = Store()
    store.take_resource(resource(), is_deleted=False)
    assert store.missing_from([KEY]) == []
    assert store.missing_from([("serving", "other")]) == [KEY]


def test_the_last_child_of_a_deleted_resource_leaves_nothing_behind() -> None:
    store = Store()
    store.take_resource(resource(), is_deleted=True)
    for is_deleted in (False, True):
        store.put_deployment(child(), is_deleted=is_deleted)
        store.put_service(child(), is_deleted=is_deleted)
        store.put_config_map(child("llama-70b-meter-1"), is_deleted=is_deleted)
        store.put_pod(child("llama-70b-abc"), is_deleted=is_deleted)
    assert store._entries == {}


OWNER = {
    "apiVersion": "specdecode.io/v1alpha1",
    "kind": "SpecDecodeDeployment",
    "name": "llama-70b",
    "controller": True,
}


@pytest.mark.parametrize(
    ("labels", "owner", "key"),
    [
        pytest.param({"specdecode.io/deployment": "llama-70b"}, OWNER, KEY, id="labelled"),
        pytest.param({}, OWNER, KEY, id="somebody took the label away"),
        pytest.param({}, OWNER | {"kind": "Deployment"}, None, id="of another kind"),
        pytest.param({}, OWNER | {"apiVersion": "other.io/v1"}, None, id="of another group"),
        pytest.param({}, OWNER | {"controller": False}, None, id="not its controller"),
    ],
)
def test_whose_child_it_is(labels: dict[str, str], owner: dict[str, Any], key: tuple[str, str] | None) -> None:
    owned = child(labels=labels)
    owned["metadata"]["ownerReferences"] = [owner]
    assert owner_key(owned) == key


def named(uid: str, version: str, **rest: Any) -> dict[str, Any]:
    owned = child(**rest)
    owned["metadata"] |= {"uid": uid, "resourceVersion": version}
    return owned


def known(store: Store) -> tuple[Any, ...]:
    """Of all that is known, the uids."""
    store.take_resource(resource(), is_deleted=False)
    entry = store.entry(KEY)
    assert entry is not None
    deployment = entry.deployment
    services, meters = entry.services.values(), entry.meters.values()
    return (
        None if deployment is None else deployment["metadata"]["uid"],
        [each.uid for each in services],
        [each["uid"] for each in meters],
    )


@pytest.mark.parametrize(
    ("uid", "version", "is_deleted", "uids"),
    [
        pytest.param("first", "6", True, "second", id="the end of the one before it"),
        pytest.param("first", "5", False, "second", id="a change of the one before it"),
        pytest.param("second", "9", True, None, id="its own end"),
        pytest.param("third", "10", False, "third", id="the beginning of the one after it"),
    ],
)
def test_what_is_heard_late_of_an_object_of_the_same_name(
    uid: str,
    version: str,
    is_deleted: bool,  # noqa: FBT001 - a column of the table
    uids: str | None,
) -> None:
    store = Store()
    puts = (
        (store.put_deployment, "llama-70b"),
        (store.put_service, "llama-70b"),
        (store.put_config_map, "llama-70b-meter-1"),
    )
    for put, name in puts:
        put(named("second", "7", name=name), is_deleted=False)
        put(named(uid, version, name=name), is_deleted=is_deleted)
    assert known(store) == (uids, [uids] if uids else [], [uids] if uids else [])


@pytest.mark.parametrize(("uid", "is_known"), [("before", True), ("4f5e2c1a-0000-4000-8000-000000000001", False)])
def test_the_end_of_a_resource_is_the_end_of_no_other(uid: str, is_known: bool) -> None:  # noqa: FBT001 - a column
    store = Store()
    store.take_resource(resource(), is_deleted=False)
    ended = body(**{"metadata.resourceVersion": "8", "metadata.uid": uid})
    store.take_resource(ended, is_deleted=True)
    assert (store.known() == [KEY]) is is_known


def test_children_of_a_successor_that_were_heard_of_first_are_still_known_when_the_old_resource_goes() -> None:
    """Each kind has a watch of its own, and they come as they like: a Service that is forgotten here would be applied
    again and again, without a change and so without an event.
    """
    store = Store()
    store.take_resource(resource(), is_deleted=False)
    store.put_service(child(), is_deleted=False)
    store.put_pod(child("llama-70b-abc"), is_deleted=False)
    store.take_resource(resource(), is_deleted=True)
    assert store.known() == []
    store.take_resource(body(**{"metadata.resourceVersion": "11", "metadata.uid": "second"}), is_deleted=False)
    entry = store.entry(KEY)
    assert entry is not None
    assert (list(entry.services), list(entry.pods)) == (["llama-70b"], ["llama-70b-abc"])
