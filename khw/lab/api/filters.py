"""
The `filter` parameter of lists, as Compute Engine reads it.

    name = web-1                labels.cluster=x AND status != TERMINATED
    (a = 1) (b = 2)             name eq web-.*            labels.owner:*
    NOT name = x OR -id = 3     network = "https://…"

`=`, `!=`, `<`, `<=`, `>`, `>=` compare; `:` looks for a part; `eq` and `ne` take a regular expression that
matches all of the value. Terms side by side are an AND.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from khw.lab.api.problems import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Json = dict[str, Any]
    Test = Callable[[Json], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<paren>[()])|(?P<quoted>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"""|(?P<operator>!=|<=|>=|=|<|>|:)|(?P<minus>-(?=[a-zA-Z(]))|(?P<word>[^\s()=<>!:"']+))"""
)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._split(text))
        self.at = 0

    def _split(self, text: str) -> Iterator[tuple[str, str]]:
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if not match or not match.lastgroup:
                raise self.refuse()
            yield match.lastgroup, match[match.lastgroup]
            position = match.end()

    def refuse(self) -> Exception:
        return invalid("filter", self.text, "Invalid list filter expression.")

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self, *groups: str) -> str:
        group, value = self.peek()
        if group not in groups:
            raise self.refuse()
        self.at += 1
        return value

    def any_of(self) -> Test:
        tests = [self.all_of()]
        while self.peek() == ("word", "OR"):
            self.at += 1
            tests.append(self.all_of())
        return tests[0] if len(tests) == 1 else lambda item: any(test(item) for test in tests)

    def all_of(self) -> Test:
        tests = [self.one()]
        while self.peek()[0] != "end" and self.peek() not in {("paren", ")"), ("word", "OR")}:
            if self.peek() == ("word", "AND"):
                self.at += 1
            tests.append(self.one())
        return tests[0] if len(tests) == 1 else lambda item: all(test(item) for test in tests)

    def one(self) -> Test:
        if self.peek() == ("word", "NOT") or self.peek()[0] == "minus":
            self.at += 1
            wanted = self.one()
            return lambda item: not wanted(item)
        if self.peek() == ("paren", "("):
            self.at += 1
            inner = self.any_of()
            if self.take("paren") != ")":
                raise self.refuse()
            return inner
        return self.comparison()

    def comparison(self) -> Test:
        field = self.take("word", "quoted").strip("\"'")
        operator = self.take("operator", "word")
        value = self._value()
        if operator in {"eq", "ne"}:
            return _expression(field, value, wanted=operator == "eq", reader=self)
        if operator not in _COMPARE:
            raise self.refuse()
        return lambda item: _COMPARE[operator](_values(item, field.split(".")), value)

    def _value(self) -> str:
        group, value = self.peek()
        if group == "minus":  # a negative number
            self.at += 1
            return "-" + self._value()
        self.take("word", "quoted")
        value = re.sub(r"\\(.)", r"\1", value[1:-1]) if group == "quoted" else value
        while group != "quoted" and self.peek() == ("operator", ":"):  # an unquoted URL or time
            self.at += 1
            value += ":" + self.take("word")
        return value


def _expression(field: str, value: str, *, wanted: bool, reader: _Reader) -> Test:
    try:
        pattern = re.compile(value)
    except re.error as error:
        raise reader.refuse() from error
    path = field.split(".")
    return lambda item: any(pattern.fullmatch(text) for text in _texts(_values(item, path))) is wanted


def _values(item: Any, path: list[str]) -> list[Any]:
    """Return all values at a path; a list on the way means each of its members."""
    if isinstance(item, list):
        return [value for member in item for value in _values(member, path)]
    if not path:
        return [item]
    if isinstance(item, dict) and path[0] in item:
        return _values(item[path[0]], path[1:])
    return []


def _texts(values: list[Any]) -> list[str]:
    return [str(v).lower() if isinstance(v, bool) else str(v) for v in values if not isinstance(v, dict)]


def _equal(values: list[Any], wanted: str) -> bool:
    if "*" in wanted:
        pattern = re.compile(".*".join(map(re.escape, wanted.split("*"))))
        return any(pattern.fullmatch(text) for text in _texts(values))
    return wanted in _texts(values)


def _has(values: list[Any], wanted: str) -> bool:
    if wanted == "*":
        return bool(values)
    if any(isinstance(value, dict) and wanted in value for value in values):
        return True
    return any(wanted.strip("*").lower() in text.lower() for text in _texts(values))


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[list[Any], str], bool]:
    def compare(values: list[Any], wanted: str) -> bool:
        for text in _texts(values):
            try:
                if test(float(text), float(wanted)):
                    return True
            except ValueError:
                if test(text, wanted):
                    return True
        return False

    return compare


_COMPARE: dict[str, Callable[[list[Any], str], bool]] = {
    "=": _equal,
    "!=": lambda values, wanted: not _equal(values, wanted),
    ":": _has,
    "<": _ordered(lambda a, b: bool(a < b)),
    "<=": _ordered(lambda a, b: bool(a <= b)),
    ">": _ordered(lambda a, b: bool(a > b)),
    ">=": _ordered(lambda a, b: bool(a >= b)),
}


def compile_filter(text: str) -> Test:
    """Return the test that a filter is; an empty one lets everything through."""
    if not text.strip():
        return lambda _: True
    reader = _Reader(text)
    test = reader.any_of()
    if reader.peek()[0] != "end":
        raise reader.refuse()
    return test
