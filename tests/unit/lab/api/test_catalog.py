from __future__ import annotations

import httpx
import pytest
from emulated import PROJECT, REGION, ZONE, names, served
from google.api_core import exceptions
from google.cloud import compute_v1 as compute


def test_a_project_that_is_not_this_lab_is_not_found(cloud):
    with pytest.raises(exceptions.NotFound, match="projects/other"):
        cloud.projects.get(project="other")
    with pytest.raises(exceptions.NotFound, match="projects/other"):
        list(cloud.networks.list(project="other"))


def test_the_project_and_its_region_tell_their_quotas(net):
    net.machine("worker-0")
    assert net.projects.get(project=PROJECT).name == PROJECT
    region = net.regions.get(project=PROJECT, region=REGION)
    used = {quota.metric: quota.usage for quota in region.quotas}
    assert (used["CPUS"], used["INSTANCES"], used["IN_USE_ADDRESSES"]) == (2, 1, 1)


def test_zones_and_machine_types_are_there(cloud):
    assert names(cloud.zones.list(project=PROJECT)) == ["us-west1-a", "us-west1-b", "us-west1-c"]
    assert cloud.zones.get(project=PROJECT, zone=ZONE).status == "UP"
    kind = cloud.machine_types.get(project=PROJECT, zone=ZONE, machine_type="e2-standard-2")
    assert (kind.guest_cpus, kind.memory_mb) == (2, 8192)
    assert "e2-standard-2" in names(cloud.machine_types.list(project=PROJECT, zone=ZONE))
    assert dict(cloud.machine_types.aggregated_list(project=PROJECT))[f"zones/{ZONE}"].machine_types
    with pytest.raises(exceptions.NotFound):
        cloud.machine_types.get(project=PROJECT, zone=ZONE, machine_type="e2-none")
    with pytest.raises(exceptions.NotFound):
        cloud.zones.get(project=PROJECT, zone="us-east1-b")


@pytest.mark.parametrize("family", ["debian-12", "debian-13"])
def test_public_images_are_found_by_family_and_by_name(cloud, family):
    image = cloud.images.get_from_family(project="debian-cloud", family=family)
    assert image.family == family
    assert cloud.images.get(project="debian-cloud", image=image.name).id == image.id
    assert image.name in names(cloud.images.list(project="debian-cloud"))


def test_a_project_has_no_images_of_its_own_and_unknown_ones_are_not_found(cloud):
    assert list(cloud.images.list(project=PROJECT)) == []
    with pytest.raises(exceptions.NotFound, match="family/none"):
        cloud.images.get_from_family(project="debian-cloud", family="none")
    with pytest.raises(exceptions.NotFound):
        cloud.images.get(project="debian-cloud", image="none")


def test_an_unknown_place_is_refused(cloud):
    with pytest.raises(exceptions.BadRequest, match="Unknown zone"):
        list(cloud.instances.list(project=PROJECT, zone="us-east1-b"))
    with pytest.raises(exceptions.BadRequest, match="Unknown region"):
        cloud.addresses.insert_unary(project=PROJECT, region="us-east1", address_resource=compute.Address(name="a"))


NESTED = b'{"name": "n", "autoCreateSubnetworks": false, "routingConfig": 5}'


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"name": 5}', b"{}", NESTED])
def test_a_body_that_is_no_resource_is_refused_in_googles_shape(tmp_path, backend, body):
    with served(tmp_path, backend) as (cloud, _):  # the judge would refuse these requests
        url = f"{cloud.endpoint}/compute/v1/projects/{PROJECT}/global/networks"
        answer = httpx.request("POST", url, content=body, trust_env=False)
    assert answer.status_code == 400
    assert answer.json()["error"]["errors"][0]["reason"] in {"parseError", "badRequest", "required"}
