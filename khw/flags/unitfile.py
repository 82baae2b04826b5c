"""Command lines back out of unit files, as systemd reads them: the reverse of `khw.tasks.units.render`."""

from __future__ import annotations

import re
import shlex

_EXEC = re.compile(r"^Exec(?:Start|StartPre|StartPost|Reload|Stop|StopPost|Condition)=(.*)$", re.MULTILINE)
_PREFIXES = "-@:+!"


def commands(content: str) -> list[tuple[str, ...]]:
    """Return the command line of every Exec…= line."""
    joined = re.sub(r"\\\n\s*", " ", content)
    lines = (match.group(1).strip().lstrip(_PREFIXES) for match in _EXEC.finditer(joined))
    return [_words(line) for line in lines if line]


def _words(line: str) -> tuple[str, ...]:
    quoted = any(mark in line for mark in "\"'\\")
    words = shlex.split(line) if quoted else line.split()  # shlex is slow, and there are many units
    return tuple(word.replace("%%", "%").replace("$$", "$") for word in words)


def flag_names(argv: tuple[str, ...]) -> list[str]:
    """Return the names of the flags in a command line, without dashes and values."""
    names = []
    for word in argv[1:]:
        if word == "--":
            break
        if word.startswith("-") and word != "-":
            names.append(word.lstrip("-").partition("=")[0])
    return names
