"""
What Google fills in where a request does not say: every field of every kind, as a client reads it.

Each kind is inserted with the least that its insert takes. A text in angle brackets stands for what differs from time
to time; all else is compared as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx
import pytest
from emulated import PROJECT, REGION, ZONE, served
from fakes import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Json = dict[str, Any]
Read: TypeAlias = "Callable[[str], Json]"

PLACE = f"projects/{PROJECT}"
LINK = f"https://www.googleapis.com/compute/v1/{PLACE}"
IMAGE = "projects/debian-cloud/global/images/family/debian-12"

LEAST: dict[str, Json] = {
    "global/networks": {"name": "net", "autoCreateSubnetworks": False},
    f"regions/{REGION}/subnetworks": {"name": "sub", "network": "global/networks/net", "ipCidrRange": "10.0.0.0/24"},
    "global/firewalls": {"name": "rule", "network": "global/networks/net", "allowed": [{"IPProtocol": "tcp"}]},
    f"regions/{REGION}/addresses": {"name": "addr"},
    f"regions/{REGION}/routers": {
        "name": "router",
        "network": "global/networks/net",
        "nats": [
            {
                "name": "nat",
                "natIpAllocateOption": "MANUAL_ONLY",
                "natIps": [f"regions/{REGION}/addresses/addr"],
                "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
            }
        ],
    },
    f"zones/{ZONE}/instances": {
        "name": "vm",
        "machineType": f"zones/{ZONE}/machineTypes/e2-small",
        "disks": [{"boot": True, "initializeParams": {"sourceImage": IMAGE}}],
        "networkInterfaces": [{"subnetwork": f"regions/{REGION}/subnetworks/sub", "accessConfigs": [{}]}],
    },
    "global/routes": {
        "name": "route",
        "network": "global/networks/net",
        "destRange": "10.200.0.0/24",
        "nextHopIp": "10.0.0.2",
    },
    f"zones/{ZONE}/instanceGroups": {"name": "group", "network": "global/networks/net"},
    f"regions/{REGION}/healthChecks": {"name": "check", "type": "HTTPS"},
    f"regions/{REGION}/backendServices": {
        "name": "service",
        "healthChecks": [f"regions/{REGION}/healthChecks/check"],
        "backends": [{"group": f"zones/{ZONE}/instanceGroups/group"}],
    },
    f"regions/{REGION}/forwardingRules": {
        "name": "front",
        "portRange": "6443",
        "backendService": f"regions/{REGION}/backendServices/service",
    },
}

SHOWN: dict[str, Json] = {
    "global/networks/net": {
        "kind": "compute#network",
        "autoCreateSubnetworks": False,
        "mtu": 1460,
        "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL",
        "routingConfig": {"routingMode": "REGIONAL", "bgpBestPathSelectionMode": "LEGACY"},
        "selfLinkWithId": "<link>",
        "subnetworks": [f"{LINK}/regions/{REGION}/subnetworks/sub"],
    },
    f"regions/{REGION}/subnetworks/sub": {
        "kind": "compute#subnetwork",
        "network": f"{LINK}/global/networks/net",
        "ipCidrRange": "10.0.0.0/24",
        "gatewayAddress": "10.0.0.1",
        "region": f"{LINK}/regions/{REGION}",
        "fingerprint": "<fingerprint>",
        "allowSubnetCidrRoutesOverlap": False,
        "privateIpGoogleAccess": False,
        "privateIpv6GoogleAccess": "DISABLE_GOOGLE_ACCESS",
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
        "logConfig": {"enable": False},
    },
    "global/firewalls/rule": {
        "kind": "compute#firewall",
        "network": f"{LINK}/global/networks/net",
        "allowed": [{"IPProtocol": "tcp"}],
        "direction": "INGRESS",
        "priority": 1000,
        "sourceRanges": ["0.0.0.0/0"],
        "disabled": False,
        "logConfig": {"enable": False},
    },
    f"regions/{REGION}/addresses/addr": {
        "kind": "compute#address",
        "address": "<address>",
        "addressType": "EXTERNAL",
        "networkTier": "PREMIUM",
        "region": f"{LINK}/regions/{REGION}",
        "labelFingerprint": "<fingerprint>",
        "status": "IN_USE",
        "users": [f"{LINK}/regions/{REGION}/routers/router"],
    },
    f"regions/{REGION}/routers/router": {
        "kind": "compute#router",
        "network": f"{LINK}/global/networks/net",
        "region": f"{LINK}/regions/{REGION}",
        "encryptedInterconnectRouter": False,
        "nats": [
            {
                "name": "nat",
                "type": "PUBLIC",
                "natIpAllocateOption": "MANUAL_ONLY",
                "natIps": [f"{LINK}/regions/{REGION}/addresses/addr"],
                "sourceSubnetworkIpRangesToNat": "ALL_SUBNETWORKS_ALL_IP_RANGES",
                "autoNetworkTier": "PREMIUM",
                "endpointTypes": ["ENDPOINT_TYPE_VM"],
                "enableDynamicPortAllocation": False,
                "enableEndpointIndependentMapping": False,
            }
        ],
    },
    f"zones/{ZONE}/instances/vm": {
        "kind": "compute#instance",
        "zone": f"{LINK}/zones/{ZONE}",
        "machineType": f"{LINK}/zones/{ZONE}/machineTypes/e2-small",
        "status": "RUNNING",
        "cpuPlatform": "Intel Broadwell",
        "canIpForward": False,
        "deletionProtection": False,
        "startRestricted": False,
        "fingerprint": "<fingerprint>",
        "labelFingerprint": "<fingerprint>",
        "lastStartTimestamp": "<time>",
        "metadata": {"kind": "compute#metadata", "fingerprint": "<fingerprint>"},
        "tags": {"fingerprint": "<fingerprint>"},
        "scheduling": {
            "onHostMaintenance": "MIGRATE",
            "automaticRestart": True,
            "preemptible": False,
            "provisioningModel": "STANDARD",
        },
        "shieldedInstanceConfig": {"enableSecureBoot": False, "enableVtpm": True, "enableIntegrityMonitoring": True},
        "shieldedInstanceIntegrityPolicy": {"updateAutoLearnPolicy": True},
        "disks": [
            {
                "kind": "compute#attachedDisk",
                "type": "PERSISTENT",
                "mode": "READ_WRITE",
                "interface": "SCSI",
                "source": f"{LINK}/zones/{ZONE}/disks/vm",
                "deviceName": "persistent-disk-0",
                "index": 0,
                "boot": True,
                "autoDelete": False,
                "diskSizeGb": "10",
                "architecture": "X86_64",
                "licenses": "<licenses>",
                "guestOsFeatures": "<features>",
            }
        ],
        "networkInterfaces": [
            {
                "kind": "compute#networkInterface",
                "name": "nic0",
                "network": f"{LINK}/global/networks/net",
                "subnetwork": f"{LINK}/regions/{REGION}/subnetworks/sub",
                "networkIP": "10.0.0.2",
                "stackType": "IPV4_ONLY",
                "fingerprint": "<fingerprint>",
                "accessConfigs": [
                    {
                        "kind": "compute#accessConfig",
                        "type": "ONE_TO_ONE_NAT",
                        "name": "External NAT",
                        "natIP": "<address>",
                        "networkTier": "PREMIUM",
                    }
                ],
            }
        ],
    },
    f"zones/{ZONE}/disks/vm": {
        "kind": "compute#disk",
        "zone": f"{LINK}/zones/{ZONE}",
        "type": f"{LINK}/zones/{ZONE}/diskTypes/pd-standard",
        "status": "READY",
        "sizeGb": "10",
        "physicalBlockSizeBytes": "4096",
        "architecture": "X86_64",
        "enableConfidentialCompute": False,
        "sourceImage": "<link>",
        "sourceImageId": "<number>",
        "licenses": "<licenses>",
        "guestOsFeatures": "<features>",
        "labelFingerprint": "<fingerprint>",
        "lastAttachTimestamp": "<time>",
        "users": [f"{LINK}/zones/{ZONE}/instances/vm"],
    },
    "global/routes/route": {
        "kind": "compute#route",
        "network": f"{LINK}/global/networks/net",
        "destRange": "10.200.0.0/24",
        "nextHopIp": "10.0.0.2",
        "priority": 1000,
        "routeType": "STATIC",
    },
    f"zones/{ZONE}/instanceGroups/group": {
        "kind": "compute#instanceGroup",
        "zone": f"{LINK}/zones/{ZONE}",
        "network": f"{LINK}/global/networks/net",
        "size": 0,
        "fingerprint": "<fingerprint>",
    },
    f"regions/{REGION}/healthChecks/check": {
        "kind": "compute#healthCheck",
        "region": f"{LINK}/regions/{REGION}",
        "type": "HTTPS",
        "checkIntervalSec": 5,
        "timeoutSec": 5,
        "healthyThreshold": 2,
        "unhealthyThreshold": 2,
        "httpsHealthCheck": {"port": 443, "requestPath": "/", "proxyHeader": "NONE"},
    },
    f"regions/{REGION}/backendServices/service": {
        "kind": "compute#backendService",
        "region": f"{LINK}/regions/{REGION}",
        "loadBalancingScheme": "EXTERNAL",
        "protocol": "TCP",
        "port": 80,
        "portName": "http",
        "timeoutSec": 30,
        "sessionAffinity": "NONE",
        "connectionDraining": {"drainingTimeoutSec": 0},
        "healthChecks": [f"{LINK}/regions/{REGION}/healthChecks/check"],
        "backends": [{"group": f"{LINK}/zones/{ZONE}/instanceGroups/group", "balancingMode": "CONNECTION"}],
        "fingerprint": "<fingerprint>",
        "usedBy": [{"reference": f"{LINK}/regions/{REGION}/forwardingRules/front"}],
    },
    f"regions/{REGION}/forwardingRules/front": {
        "kind": "compute#forwardingRule",
        "region": f"{LINK}/regions/{REGION}",
        "loadBalancingScheme": "EXTERNAL",
        "IPProtocol": "TCP",
        "IPAddress": "<address>",
        "portRange": "6443-6443",
        "networkTier": "PREMIUM",
        "backendService": f"{LINK}/regions/{REGION}/backendServices/service",
        "fingerprint": "<fingerprint>",
        "labelFingerprint": "<fingerprint>",
    },
}

FORMS = {
    "<fingerprint>": r"[\w+/=]{11,12}",
    "<link>": r"https://www.googleapis.com/compute/v1/projects/\S+",
    "<address>": r"\d+\.\d+\.\d+\.\d+",
    "<number>": r"\d+",
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d",
}
LISTS = {"<licenses>", "<features>"}


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """A project in which one of each kind was made with the least that it takes; and how to read from it."""
    with served(tmp_path_factory.mktemp("state"), FakeBackend()) as (cloud, found):
        base = f"{cloud.endpoint}/compute/v1/{PLACE}"
        with httpx.Client(trust_env=False, timeout=20) as client:
            for where, body in LEAST.items():
                operation = client.post(f"{base}/{where}", json=body).json()
                below = operation["selfLink"].partition(f"{PLACE}/")[2]
                done = client.post(f"{base}/{below}/wait").json()
                assert (done["status"], done.get("error")) == ("DONE", None), where
            yield lambda where: client.get(f"{base}/{where}").json()
    assert not found


def fits(seen: Any, expected: Any) -> bool:
    """Whether a value is the one expected, or of its form."""
    if isinstance(expected, dict):
        same = isinstance(seen, dict) and seen.keys() == expected.keys()
        return same and all(fits(seen[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(seen) == len(expected) and all(map(fits, seen, expected))
    if expected in LISTS:
        return isinstance(seen, list) and bool(seen)
    return re.fullmatch(FORMS[expected], seen) is not None if expected in FORMS else bool(seen == expected)


def test_there_is_one_of_each_kind() -> None:
    from khw.lab.api.table import KINDS

    assert {where.split("/")[-2] for where in SHOWN} == {kind.path for kind in KINDS.values()}


@pytest.mark.parametrize("where", SHOWN)
def test_all_that_google_fills_in_is_there_and_nothing_else(read: Read, where: str) -> None:
    seen = read(where)
    common = {
        "id": "<number>",
        "name": where.rsplit("/", maxsplit=1)[-1],
        "creationTimestamp": "<time>",
        "selfLink": f"{LINK}/{where}",
    }
    expected = common | SHOWN[where]
    assert seen.keys() == expected.keys()
    assert {key: seen[key] for key in expected if not fits(seen[key], expected[key])} == {}


def test_an_operation_says_what_it_is_at_from_its_beginning_to_its_end(read: Read) -> None:
    rows = read("global/operations")["items"]
    row = next(row for row in rows if row["targetLink"] == f"{LINK}/global/networks/net")
    assert row.keys() == {
        "kind",
        "id",
        "name",
        "operationType",
        "targetLink",
        "targetId",
        "status",
        "progress",
        "user",
        "insertTime",
        "startTime",
        "endTime",
        "selfLink",
    }
    assert (row["kind"], row["operationType"], row["status"], row["progress"]) == (
        "compute#operation",
        "insert",
        "DONE",
        100,
    )
    assert row["targetId"] == read("global/networks/net")["id"]
    assert row["insertTime"] <= row["startTime"] <= row["endTime"]


def test_the_routes_that_come_with_a_network_say_what_they_are(read: Read) -> None:
    kinds = {row["name"].split("-")[0]: set() for row in read("global/routes")["items"]}
    for row in read("global/routes")["items"]:
        kinds[row["name"].split("-")[0]].add(row["routeType"])
    assert kinds == {"route": {"STATIC"}, "default": {"STATIC", "SUBNET"}}
