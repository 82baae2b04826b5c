"""Which names a binary knows: its flags by its own --help, its fields by the struct tags that are compiled into it."""

from __future__ import annotations

import mmap
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from khw.flags.asking import Room

_LISTED = re.compile(r"^[ \t]+(-.*?)(?:[ ]{2}|\t|$)", re.MULTILINE)  # a line of a list of flags, without what it means
_FLAG = re.compile(r"(?<![\w-])--?([a-zA-Z][\w.-]*)")
FAR = 4  # letters more or less: no near name
_TAGS = (b'json:"', b'toml:"', b'yaml:"')
_NAME = re.compile(rb"[A-Za-z][\w.-]{0,80}")


def flags_of(room: Room, binary: Path, words: Iterable[str] = ()) -> frozenset[str]:
    """Return the flags that `binary WORDS… --help` lists, and with kubectl those that all its commands have."""
    text = room.ask(binary, [*words, "--help"]).text
    if binary.name == "kubectl":
        text += room.ask(binary, ["options"]).text
    return frozenset(name for head in _LISTED.findall(text) for name in _FLAG.findall(head)) | {"help"}


def fields_of(binary: Path) -> frozenset[str]:
    """Return every field name in the struct tags of a Go binary, whichever struct it is of."""
    names = set()
    with binary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for tag in _TAGS:
            at = data.find(tag)
            while at >= 0:
                if name := _NAME.match(data, at + len(tag)):
                    names.add(name[0].decode())
                at = data.find(tag, at + len(tag))
    return frozenset(names)


def nearest(name: str, known: Iterable[str], *, dashes: str = "") -> str:
    """Return '; did you mean X?' for the name nearest to `name`, or nothing; the case of letters counts last."""
    by_lower = {one.lower(): one for one in sorted(known) if abs(len(one) - len(name)) <= FAR}
    near = get_close_matches(name.lower(), by_lower, 1, 0.6)
    return f"; did you mean {dashes}{by_lower[near[0]]}?" if near else ""
