"""Chapter 2: the operator's own tools are for the operator's machine, whatever the nodes are."""

from __future__ import annotations

import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from khw.engine import operator


@pytest.mark.parametrize(("machine", "architecture"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_kubectl_is_that_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, architecture: str
) -> None:
    asked: list[tuple[str, str]] = []

    def get(name: str, architecture: str, **_: Any) -> Any:
        asked.append((name, architecture))
        (tmp_path / "kubectl").write_text("#!/bin/sh\n")
        return SimpleNamespace(path=tmp_path / "kubectl")

    store = SimpleNamespace(
        get=get, digest=lambda *_: "", fetch=lambda **_: [], lock=SimpleNamespace(entries={"kubectl": None})
    )
    run = SimpleNamespace(
        store=store,
        check=False,
        progress=print,
        workspace=SimpleNamespace(bin=tmp_path / "bin"),
        require_flags=list,
    )
    monkeypatch.setattr(platform, "machine", lambda: machine)
    list(operator.tools(cast("operator.Run", run)))
    assert asked == [("kubectl", architecture)]
    assert (tmp_path / "bin" / "kubectl").exists()
