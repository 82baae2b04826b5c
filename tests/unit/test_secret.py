from __future__ import annotations

import pickle

import pytest

from khw.converge.resources import File
from khw.secret import Secret


def test_a_secret_never_shows() -> None:
    secret = Secret("hunter2")
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", repr(File(path="/x", content=secret))):
        assert "hunter2" not in text
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_it_is_equal_by_value() -> None:
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
