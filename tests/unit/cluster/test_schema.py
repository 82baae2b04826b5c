"""The schema of khw.yaml says what khw says, and at the same place."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from khw.cli.main import main
from khw.cluster.file import _all_keys, load, template
from khw.cluster.schema import BESIDE, put_beside, schema
from khw.cluster.spec import Spec
from khw.errors import ClusterFileError

if TYPE_CHECKING:
    from pathlib import Path

GCP = "gcp:\n  project: mine\n"
NODE = "  nodes:\n    - {name: c, role: controller, address: 192.0.2.10, host_keys: [ssh-ed25519 AAAA]}\n"


def read(text: str) -> Any:
    return YAML(typ="safe").load(text)


def errors(text: str) -> list[list[str | int]]:
    found = Draft202012Validator(schema()).iter_errors(read(text))
    return sorted((list(error.absolute_path) for error in found), key=str)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def test_every_key_is_described() -> None:
    parts = [schema(), *schema()["$defs"].values()]
    fields = {name: field for part in parts for name, field in part.get("properties", {}).items()}
    assert {key.rpartition(".")[2] for key in _all_keys(Spec)} == set(fields)
    assert [name for name, field in fields.items() if not field.get("description", "").endswith(".")] == []


@pytest.mark.parametrize("text", [template(), template(project="mine"), template(project="x", endpoint="http://x")])
def test_what_khw_writes_is_right(text: str) -> None:
    assert errors(text) == []


@pytest.mark.parametrize(
    "text",
    [
        GCP,
        GCP + "controllers: {count: 1}\n",
        GCP + "workers: {names: [alice, bob], addresses: [10.240.0.30, 10.240.0.31]}\n",
        GCP + "network: {source_ranges: [203.0.113.7/32, 203.0.113.8]}\n",
        GCP + "ssh: {private_key: null}\ntimeouts: {boot: 0.5}\n",
        GCP + "artifacts: {sources: [mirror], mirror: /srv/mirror}\n",
        "provider: static\nstatic:\n  api_address: api.example\n" + NODE.replace("[ssh-ed25519 AAAA]", "[k]"),
    ],
)
def test_what_has_the_right_form_is_accepted(text: str) -> None:
    assert errors(text) == []
    Spec.model_validate(read(text) | ({} if "static" in text else {"controllers": {**POOL}, "workers": {**POOL}}))


POOL = {"name": "x", "first_address": "10.240.0.10"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (GCP + "contollers: {count: 3}\n", []),
        (GCP + "network: {subnet: [x]}\n", ["network", "subnet"]),
        (GCP + "network: {subnet_cidr: ten}\n", ["network", "subnet_cidr"]),
        (GCP + "network: {source_ranges: [0.0.0.0/0, x]}\n", ["network", "source_ranges", 1]),
        (GCP + "controllers: {count: 201}\n", ["controllers", "count"]),
        (GCP + "controllers: {count: three}\n", ["controllers", "count"]),
        (GCP + "workers: {first_address: 10.240.0}\n", ["workers", "first_address"]),
        (GCP + "workers: {machine: large}\n", ["workers"]),
        (GCP + "encryption: {provider: aes}\n", ["encryption", "provider"]),
        (GCP + "timeouts: {boot: 0}\n", ["timeouts", "boot"]),
        (GCP + "name: Mine\n", ["name"]),
        (GCP + "provider: aws\n", ["provider"]),
        ("gcp: {region: us-west1}\n", ["gcp"]),
        ("name: c\n", []),
        ("provider: static\n", []),
        (
            "provider: static\nstatic:\n  api_address: api.example\n" + NODE.replace("controller,", "master,"),
            ["static", "nodes", 0, "role"],
        ),
        (
            "provider: static\nstatic:\n  api_address: api.example\n" + NODE.replace("192.0.2.10", "here"),
            ["static", "nodes", 0, "address"],
        ),
    ],
)
def test_what_is_wrong_is_found_at_its_place_and_by_khw_too(tmp_path: Path, text: str, place: list[str | int]) -> None:
    assert errors(text) == [place]
    file = tmp_path / "khw.yaml"
    file.write_text(text)
    with pytest.raises(ClusterFileError):
        load(file)


def test_the_command_prints_it() -> None:
    done = CliRunner().invoke(main, ["schema"])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == schema()


def test_init_puts_it_where_the_first_line_of_the_cluster_file_says(tmp_path: Path) -> None:
    file = tmp_path / "khw.yaml"
    assert CliRunner().invoke(main, ["-f", str(file), "init", "--project", "p"]).exit_code == 0
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", file.read_text())
    assert found
    assert found[1] == BESIDE
    assert json.loads((tmp_path / found[1]).read_text()) == schema()


def test_one_of_an_older_khw_is_replaced_and_the_right_one_left_alone(tmp_path: Path) -> None:
    put_beside(tmp_path / "khw.yaml")
    placed = tmp_path / BESIDE
    before = placed.stat().st_mtime_ns
    put_beside(tmp_path / "khw.yaml")
    assert placed.stat().st_mtime_ns == before
    placed.write_text("{}")
    put_beside(tmp_path / "khw.yaml")
    assert json.loads(placed.read_text()) == schema()
