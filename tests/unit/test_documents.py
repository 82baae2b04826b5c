"""The documents are of one piece with the code: they build without a warning, and every command is one of khw's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from documents import DOCS, ROOT, Block, blocks, missing, pages
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from from_code.errors import exit_codes
from khw.cli.main import main
from khw.cluster.file import load
from khw.cluster.schema import schema

BLOCKS = [block for page in pages() for block in blocks(page)]
LANGUAGES = {"sh", "console", "text", "yaml", "python", "diff", "json", "ini", "mermaid", "{toctree}", "{include}"}
KINDS = {"", "not run", "file", "edit", "ran before"}


def khw_commands() -> list[str]:
    """Return everything of the form `khw …`, from blocks and from the text between."""
    found = set()
    for page in pages():
        found |= {" ".join(text.split()) for text in re.findall(r"`(khw [^`]+)`", page.read_text())}
        for step in (step for block in blocks(page) for step in block.steps if not step.node):
            line = step.command.replace("\\\n", " ").partition(" #")[0]
            inner = re.findall(r"\$\(([^)]*)\)", line)
            for part in (*inner, *re.split(r"&&|\|\||[|;]", line)):
                words = part.strip().removeprefix("sudo ")
                found |= {words} if words.startswith("khw ") else set()
    return sorted(found)


@pytest.mark.parametrize("text", khw_commands())
def test_a_command_of_the_documents_is_one_of_ours_with_options_that_it_takes(text: str) -> None:
    words = shlex.split(text.partition(" > ")[0].replace("…", "x"))[1:]
    command: click.Command = main
    context = click.Context(main, info_name="khw")
    while isinstance(command, click.Group):
        if not words:
            return  # a group, spoken of as such
        if isinstance(command, click.Group) and words[0].startswith("-"):
            _, words, _ = command.make_parser(context).parse_args(args=words)
            continue
        found = command.get_command(context, words.pop(0))
        assert found, text
        command, context = found, click.Context(found, parent=context, info_name=found.name, **found.context_settings)
    command.make_parser(context).parse_args(args=words)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_is_of_a_kind_that_the_tests_know(block: Block) -> None:
    assert block.language in LANGUAGES
    assert block.kind in KINDS
    assert block.kind != "not run" or len(block.mark) > 10, "say why"
    assert block.steps or block.language not in {"sh", "console"}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_command_hides_from_the_tests(page: Path) -> None:
    outside = re.sub(r"^(`{3,})\S*\n.*?^\1$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert not re.search(r"^(\$| {4,})\s*(khw|make|kubectl|sudo) ", outside, re.MULTILINE)


@pytest.mark.parametrize(
    "block",
    [block for block in BLOCKS if block.kind == "file" and block.mark.endswith("khw.yaml")],
    ids=lambda block: block.name,
)
def test_a_cluster_file_in_the_documents_is_a_right_one(tmp_path: Path, block: Block) -> None:
    file = tmp_path / "khw.yaml"
    file.write_text(block.text)
    load(file)
    errors = Draft202012Validator(schema()).iter_errors(YAML(typ="safe").load(block.text))
    assert [error.message for error in errors] == []


def test_the_site_and_the_manual_pages_build_without_a_warning(tmp_path: Path) -> None:
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "read")]
    for builder in ("html", "man"):  # the second does not read the sources again
        done = subprocess.run(
            [*sphinx, "-b", builder, DOCS, tmp_path / builder],
            capture_output=True,
            text=True,
            timeout=280,
            env=os.environ | {"NO_COLOR": "1"},
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert "lab" in (tmp_path / "man" / "khw-lab-up.1").read_text()
    assert (tmp_path / "html" / "index.html").exists()
    html = " ".join(page.read_text() for page in (tmp_path / "html").rglob("*.html"))
    assert not re.search(r'(src|<link[^>]* href)="(https?:)?//', html), "the site needs nothing from elsewhere"


def test_the_readmes_links_lead_somewhere_and_its_exit_codes_are_the_commands_own() -> None:
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
    for code, meaning in exit_codes():
        assert f"{code} {meaning}" in text.replace("\n", " ")


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "ran before"], ids=lambda block: block.name)
def test_what_is_said_to_have_run_before_is_what_the_labs_tests_begin_with(block: Block) -> None:
    begun = (ROOT / "tests" / "lab" / "conftest.py").read_text()
    for step in block.steps:
        words = step.command.removeprefix("sudo .venv/bin/").split()[1:]
        assert ", ".join(f'"{word}"' for word in words) in begun


def test_what_is_shown_must_have_been_printed_in_that_order() -> None:
    printed = "NAME   STATUS\nworker-0   Ready   v1.37.2\nworker-1   Ready   v1.37.2\n"
    assert missing(("NAME STATUS", "worker-0 Ready …", "…", "worker-1 Ready v1…"), printed) is None
    assert missing(("worker-1 Ready …", "worker-0 Ready …"), printed) == "worker-0 Ready …"
    assert missing(("worker-2 …",), printed) == "worker-2 …"
