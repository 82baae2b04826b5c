from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from labnet import vpc

from khw.lab.names import A, Zone, hosts, machine_hosts

if TYPE_CHECKING:
    from pathlib import Path

AAAA = 28
NO_SUCH_NAME = 3


def query(name: str, kind: int = A) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label)
    return struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", kind, 1)


def code_and_address(answer: bytes) -> tuple[int, str]:
    identity, flags, _, answers, *_ = struct.unpack_from("!6H", answer)
    assert identity == 7
    return flags & 15, ".".join(str(byte) for byte in answer[-4:]) if answers else ""


@pytest.fixture
def zone(tmp_path: Path) -> Zone:
    file = tmp_path / "hosts"
    file.write_text(hosts(vpc()))
    return Zone("c.khw-x.internal", file)


@pytest.mark.parametrize("name", ["worker-0", "worker-0.c.khw-x.internal", "WORKER-0.C.khw-x.internal"])
def test_a_machine_answers_to_its_short_and_its_full_name(zone: Zone, name: str) -> None:
    assert code_and_address(zone.answer(query(name))) == (0, "10.240.0.20")


def test_an_outside_name_does_not_exist(zone: Zone) -> None:
    assert code_and_address(zone.answer(query("example.com"))) == (NO_SUCH_NAME, "")


def test_a_machine_has_no_ipv6_address_but_exists(zone: Zone) -> None:
    assert code_and_address(zone.answer(query("worker-0", AAAA))) == (0, "")


def test_a_changed_file_is_read_again(zone: Zone) -> None:
    zone.answer(query("worker-0"))
    zone.file.write_text("10.240.0.99 new\n")
    assert code_and_address(zone.answer(query("new"))) == (0, "10.240.0.99")
    assert code_and_address(zone.answer(query("worker-0")))[0] == NO_SUCH_NAME


@pytest.mark.parametrize("end", [13, 16, 20])
def test_a_query_cut_short_is_a_format_error(zone: Zone, end: int) -> None:
    assert code_and_address(zone.answer(query("worker-0")[:end]))[0] == 1


def test_a_machine_finds_itself_in_its_own_hosts_file() -> None:
    assert "10.240.0.20 worker-0.c.khw-x.internal worker-0" in machine_hosts("worker-0", "10.240.0.20", "khw-x")
