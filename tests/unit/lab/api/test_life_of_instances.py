from __future__ import annotations

import pytest
from emulated import PROJECT, ZONE, metadata, names
from google.api_core import exceptions
from google.cloud import compute_v1 as compute

from khw.lab.api import service
from khw.lab.backend import MachineState
from khw.lab.state import Entry

HERE = {"project": PROJECT, "zone": ZONE}


def test_an_instance_is_made_by_the_backend_from_what_was_inserted(net, backend):
    seen = net.machine("worker-0", address="10.240.0.20")
    assert seen.status == "RUNNING"
    spec = backend.specs["worker-0"]
    assert (spec.image, spec.network, spec.subnet) == ("debian-12", "net", "sub")
    assert (spec.internal_ip, spec.external_ip) == ("10.240.0.20", "127.0.0.10")
    assert spec.metadata["pod-cidr"] == "10.200.0.0/24"
    assert spec.can_ip_forward
    assert backend.network.attachments[0].tags == ("khw", "worker")


def test_google_fills_in_what_the_request_left_out(net):
    seen = net.machine("worker-0")
    assert seen.network_interfaces[0].network_i_p == "10.240.0.2"
    assert seen.network_interfaces[0].network.endswith(f"projects/{PROJECT}/global/networks/net")
    assert seen.self_link == (
        f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{ZONE}/instances/worker-0"
    )
    assert seen.id
    assert seen.creation_timestamp
    assert seen.metadata.fingerprint
    assert seen.label_fingerprint
    assert seen.disks[0].disk_size_gb == 200


def test_an_instance_shows_before_it_runs_and_nothing_may_be_done_with_it_yet(net, backend):
    backend.gate.clear()
    operation = net.insert_machine("worker-0")
    assert operation.status in {compute.Operation.Status.PENDING, compute.Operation.Status.RUNNING}
    assert net.instances.get(instance="worker-0", **HERE).status in {"PROVISIONING", "STAGING"}
    with pytest.raises(exceptions.BadRequest, match="not ready"):
        net.instances.delete_unary(instance="worker-0", **HERE)
    backend.gate.set()
    net.done(operation)
    assert net.instances.get(instance="worker-0", **HERE).status == "RUNNING"


def test_a_machine_that_cannot_be_made_fails_the_operation_and_leaves_no_instance(net, backend):
    backend.fails["create_machine"] = "no space left on device"
    error = net.failed(net.insert_machine("worker-0"))
    assert (error.code, error.message) == ("INTERNAL_ERROR", "no space left on device")
    with pytest.raises(exceptions.NotFound):
        net.instances.get(instance="worker-0", **HERE)
    assert ("delete_machine", "worker-0") in backend.calls
    assert backend.network.attachments == ()
    del backend.fails["create_machine"]
    net.machine("worker-0")


def test_an_address_that_is_taken_ends_the_operation_in_googles_error(net):
    net.machine("worker-0", address="10.240.0.20")
    error = net.failed(net.insert_machine("worker-1", address="10.240.0.20"))
    assert error.code == "IP_IN_USE_BY_ANOTHER_RESOURCE"
    assert names(net.instances.list(**HERE)) == ["worker-0"]


@pytest.mark.parametrize("address", ["10.240.1.5", "10.240.0.0", "10.240.0.1", "10.240.0.255", "nonsense"])
def test_an_address_outside_of_the_subnet_is_refused(net, address):
    with pytest.raises(exceptions.BadRequest, match="networkIP"):
        net.insert_machine("worker-0", address=address)


def test_a_missing_image_subnet_or_machine_type_is_named(net):
    with pytest.raises(exceptions.NotFound, match="e2-none"):
        net.insert_machine("w", machine_type=f"zones/{ZONE}/machineTypes/e2-none")
    interface = compute.NetworkInterface(subnetwork="regions/us-west1/subnetworks/none")
    with pytest.raises(exceptions.NotFound, match="subnetworks/none"):
        net.insert_machine("w", network_interfaces=[interface])
    image = compute.AttachedDiskInitializeParams(source_image="projects/debian-cloud/global/images/family/hurd")
    with pytest.raises(exceptions.NotFound, match="family/hurd"):
        net.insert_machine("w", disks=[compute.AttachedDisk(boot=True, initialize_params=image)])


def test_stop_and_start_give_the_external_address_back_and_take_it_again(net, backend):
    net.machine("worker-0")
    net.done(net.instances.stop_unary(instance="worker-0", **HERE))
    seen = net.instances.get(instance="worker-0", **HERE)
    assert seen.status == "TERMINATED"
    assert not seen.network_interfaces[0].access_configs[0].nat_i_p
    assert not backend.network.attachments[0].running
    assert backend.states["worker-0"] is MachineState.STOPPED
    net.done(net.instances.start_unary(instance="worker-0", **HERE))
    seen = net.instances.get(instance="worker-0", **HERE)
    assert seen.network_interfaces[0].access_configs[0].nat_i_p == "127.0.0.10"
    assert backend.states["worker-0"] is MachineState.RUNNING


def test_a_machine_that_shut_itself_down_shows_as_terminated_and_can_be_started(net, backend):
    net.machine("worker-0")
    backend.states["worker-0"] = MachineState.STOPPED
    backend.tell("worker-0")
    assert net.instances.get(instance="worker-0", **HERE).status == "TERMINATED"
    assert not backend.network.attachments[0].running
    net.done(net.instances.start_unary(instance="worker-0", **HERE))
    assert backend.states["worker-0"] is MachineState.RUNNING


def test_operations_on_one_instance_run_in_the_order_of_their_requests(net, backend):
    net.machine("worker-0")
    backend.gate.clear()
    waiting = [
        net.instances.stop_unary(instance="worker-0", **HERE),
        net.instances.start_unary(instance="worker-0", **HERE),
        net.instances.reset_unary(instance="worker-0", **HERE),
    ]
    backend.gate.set()
    for operation in waiting:
        net.done(operation)
    order = [what for what, name in backend.calls if name == "worker-0"]
    assert order == ["create_machine", "stop_machine", "start_machine", "reset_machine"]


def test_a_stopped_instance_cannot_be_reset(net):
    net.machine("worker-0")
    net.done(net.instances.stop_unary(instance="worker-0", **HERE))
    assert net.failed(net.instances.reset_unary(instance="worker-0", **HERE)).code == "RESOURCE_NOT_READY"


def test_delete_ends_the_machine_and_frees_its_addresses(net, backend):
    net.machine("worker-0", address="10.240.0.20")
    net.done(net.instances.delete_unary(instance="worker-0", **HERE))
    assert backend.states == {}
    assert backend.network.attachments == ()
    with pytest.raises(exceptions.NotFound, match=f"projects/{PROJECT}/zones/{ZONE}/instances/worker-0"):
        net.instances.get(instance="worker-0", **HERE)
    net.machine("worker-1", address="10.240.0.20")


def test_metadata_are_replaced_only_from_the_version_of_now(net, backend):
    old = net.machine("worker-0").metadata.fingerprint
    change = {"instance": "worker-0", **HERE}
    wanted = metadata({"ssh-keys": "khw:ssh-ed25519 AAAA"}, old)
    net.done(net.instances.set_metadata_unary(metadata_resource=wanted, **change))
    assert backend.metadata["worker-0"] == {"ssh-keys": "khw:ssh-ed25519 AAAA"}
    with pytest.raises(exceptions.PreconditionFailed, match="fingerprint"):
        net.instances.set_metadata_unary(metadata_resource=metadata({}, old), **change)
    assert net.instances.get(**change).metadata.items[0].key == "ssh-keys"


def test_labels_are_replaced_only_from_the_version_of_now(net):
    old = net.machine("worker-0").label_fingerprint
    change = {"instance": "worker-0", **HERE}
    request = compute.InstancesSetLabelsRequest(labels={"role": "worker"}, label_fingerprint=old)
    net.done(net.instances.set_labels_unary(instances_set_labels_request_resource=request, **change))
    assert dict(net.instances.get(**change).labels) == {"role": "worker"}
    with pytest.raises(exceptions.PreconditionFailed):
        net.instances.set_labels_unary(instances_set_labels_request_resource=request, **change)


def test_host_keys_are_guest_attributes_once_the_machine_has_published_them(net, backend):
    net.machine("worker-0")
    request = compute.GetGuestAttributesInstanceRequest(instance="worker-0", query_path="hostkeys/", **HERE)
    (row,) = net.instances.get_guest_attributes(request).query_value.items
    assert (row.namespace, row.key, row.value) == ("hostkeys", "ssh-ed25519", "AAAAkey")
    backend.attributes.clear()
    with pytest.raises(exceptions.NotFound):
        net.instances.get_guest_attributes(request)


def test_guest_attributes_are_closed_unless_the_metadata_open_them(net):
    net.machine("worker-0", metadata=metadata({}))
    request = compute.GetGuestAttributesInstanceRequest(instance="worker-0", query_path="hostkeys/", **HERE)
    with pytest.raises(exceptions.PreconditionFailed, match="disabled"):
        net.instances.get_guest_attributes(request)


def test_the_serial_port_is_read_on_from_where_the_last_answer_ended(net, backend):
    net.machine("worker-0")
    read = net.instances.get_serial_port_output
    first = read(instance="worker-0", **HERE)
    assert first.contents == "booting\nready\n"
    backend.console += b"login:"
    request = compute.GetSerialPortOutputInstanceRequest(instance="worker-0", start=first.next_, **HERE)
    assert read(request).contents == "login:"


def test_a_bad_name_or_label_or_disk_is_refused(net):
    with pytest.raises(exceptions.BadRequest, match=r"resource\.name"):
        net.insert_machine("Worker_0")
    with pytest.raises(exceptions.BadRequest, match="labels"):
        net.insert_machine("worker-0", labels={"Role": "x"})
    image = compute.AttachedDiskInitializeParams(
        source_image="projects/debian-cloud/global/images/family/debian-12", disk_size_gb=5
    )
    with pytest.raises(exceptions.BadRequest, match="smaller than the image"):
        net.insert_machine("worker-0", disks=[compute.AttachedDisk(boot=True, initialize_params=image)])


def test_a_resource_changes_only_under_the_lock_under_which_the_state_is_saved(net, monkeypatch):
    class Guarded(dict):
        def __setitem__(self, key, value):
            assert net.lab.project.state.lock._is_owned(), f"{key} is written without the lock"
            super().__setitem__(key, value)

    def guarded(collection, scope, name, key, body):
        return Entry(collection, scope, name, key, Guarded(body), Guarded())

    monkeypatch.setattr(service, "Entry", guarded)
    net.machine("worker-0")
    for verb in ("stop_unary", "start_unary", "reset_unary", "delete_unary"):
        net.done(getattr(net.instances, verb)(project=PROJECT, zone=ZONE, instance="worker-0"))
