"""Every gcloud command that khw prints, in scripts, hints, texts and docs, is one that gcloud takes."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import gcloud
import pytest
from documents import ROOT, pages

from khw.cluster.spec import Gcp
from khw.explain import operator_shell
from khw.inventory.gcp import kinds as gcp_kinds
from khw.inventory.gcp.kinds import Kind

from .conftest import guide_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from khw.explain.guide import Guide

SOURCES = sorted(path for folder in ("khw", "inventory", "certs", "tasks") for path in (ROOT / folder).rglob("*.py"))
RENDERED = {"cloud_shell.py", "operator_shell.py"}  # their commands are looked at whole, in the scripts
GCLOUDS = "{what gcloud calls it}"
KINDS = [kind for kind in vars(gcp_kinds).values() if isinstance(kind, Kind)]


def strings(source: str) -> Iterator[str]:
    """Yield a program's texts; what is put into them is X, or what it can be where that is gcloud's own word."""
    nodes = list(ast.walk(ast.parse(source)))
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            words = [_expression(part) if isinstance(part, ast.FormattedValue) else _text(part) for part in node.values]
            for kind in KINDS if GCLOUDS in words else KINDS[:1]:
                yield "".join(kind.command if word == GCLOUDS else word for word in words)


def _expression(part: ast.FormattedValue) -> str:
    return GCLOUDS if ast.unparse(part.value).endswith("kind.command") else "X"


def _text(part: ast.expr) -> str:
    return str(part.value) if isinstance(part, ast.Constant) else ""


def told() -> dict[str, list[list[str]]]:
    """Return the gcloud commands of the code's own texts, and of the pages, by file."""
    found = {}
    for path in SOURCES:
        if path.name in RENDERED:
            continue
        texts = [text for text in strings(path.read_text()) if "`gcloud " in text or text.startswith("gcloud ")]
        found[str(path.relative_to(ROOT))] = [words for text in texts for words in gcloud.commands(text)]
    for path in (*pages(), *(ROOT / "khw" / "explain" / "book").glob("*.toml"), ROOT / "docs" / "drills.md"):
        found[str(path.relative_to(ROOT))] = gcloud.commands(path.read_text())
    return {name: rows for name, rows in found.items() if rows}


def test_what_hints_texts_and_pages_tell_to_type_is_what_gcloud_takes() -> None:
    found = told()
    assert len(found) > 10
    wrong = [f"{name}: {why}" for name, rows in found.items() for words in rows if (why := gcloud.wrong(words))]
    assert wrong == []


def test_what_is_in_the_way_can_be_removed_whatever_kind_it_is() -> None:
    deletes = {" ".join(words).partition(" delete ")[0] for words in told()["inventory/gcp/wanted.py"]}
    assert len(KINDS) > 10
    assert deletes == {f"compute {kind.command}" for kind in KINDS}


@pytest.mark.parametrize("phase", ["prerequisites", "compute", "load-balancer", "routes"])
def test_the_scripts_of_the_project_call_gcloud_as_it_wants_to_be_called(google: Guide, phase: str) -> None:
    rows = gcloud.commands(operator_shell.of(google, phase))
    assert rows
    assert [why for words in rows if (why := gcloud.wrong(words))] == []


def test_private_nodes_have_their_bastion_router_and_nat_in_the_scripts_too(tmp_path: Path) -> None:
    guide = guide_of(tmp_path, Gcp(project="my-project", private_nodes=True))
    rows = [row for phase in ("compute", "load-balancer") for row in gcloud.commands(operator_shell.of(guide, phase))]
    assert [why for words in rows if (why := gcloud.wrong(words))] == []
    made = {" ".join(row).partition(" --")[0] for row in rows}
    name = "kubernetes-the-hard-way"
    assert f"compute routers nats create {name}-nat" in made
    bare = [row[3] for row in rows if row[1:3] == ["instances", "create"] and "--no-address" not in row]
    assert bare == [f"{name}-bastion"]
    (deny,) = [row for row in rows if row[3] == f"{name}-deny-ssh"]
    assert {"--action=DENY", "--rules=tcp:22", "--priority=900"} <= set(deny)


def test_machines_made_by_gcloud_get_no_service_account_as_khws_own_get_none(google: Guide) -> None:
    made = [row for row in gcloud.commands(operator_shell.of(google, "compute")) if row[1:3] == ["instances", "create"]]
    assert len(made) == 6
    assert all({"--no-service-account", "--no-scopes"} <= set(row) for row in made)


def test_a_flag_or_a_command_that_nobody_looked_up_is_found() -> None:
    (words,) = gcloud.commands("x=$(gcloud compute zones describe us-west1-c --output=json | cat)")
    assert words == ["compute", "zones", "describe", "us-west1-c", "--output=json"]
    assert "unknown ['output']" in gcloud.wrong(words)
    assert "not in tests/gcloud.py" in gcloud.wrong(["compute", "machines", "list"])
    assert "missing ['region']" in gcloud.wrong(["compute", "addresses", "create", "a"])
