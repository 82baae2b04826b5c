"""What `khw explain WORD` finds, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from khw.certs.identities import AUTHORITIES
from khw.converge.resources import Unit
from khw.engine.phases import PHASES
from khw.errors import UsageError
from khw.explain import book, openssl
from khw.explain.content import Content
from khw.explain.shell import Needed, lines
from khw.verify.rounds import REACHABLE
from khw.verify.table import CHECKS, typed

if TYPE_CHECKING:
    from khw.engine.phases import Phase
    from khw.explain.book import Entry
    from khw.explain.guide import Guide

UNITS = "/etc/systemd/system/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One thing: what it is, why, what breaks without it; then as it is on this cluster, and how it is done by hand."""

    kind: str
    name: str
    chapter: int
    what: str
    why: str
    breaks: str
    source: str
    here: str = ""
    by_hand: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form: an element of what `khw explain -o json` prints."""
        return asdict(self)


class Topics:
    """Everything that can be explained of a cluster."""

    def __init__(self, guide: Guide) -> None:
        self._guide = guide
        self._content = Content(guide)

    def find(self, word: str, host: str | None = None) -> list[Topic]:
        """Return what the word stands for, one thing or several; UsageError names the nearest if nothing does."""
        found = [*self._phases(word), *self._checks(word), *self._certificates(word)]
        found += [*self._flags(word), *self._fields(word), *self._options(word), *self._files(word, host)]
        if not found:
            near = get_close_matches(word.lstrip("-"), self.names(), 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            msg = f"there is nothing called {word!r}{meant}"
            raise UsageError(msg, hint="khw explain takes a phase, file, flag, field, certificate, unit or check")
        return found

    def names(self) -> list[str]:
        """Return every word that `find` knows."""
        content = self._content
        return sorted(
            {
                *(phase.name for phase in PHASES),
                *(typed(name) for name in _check_names()),
                *content.certificates,
                *(flag for _, flag in content.flags),
                *(field for component, field in content.fields if book.field_entry(component, field)),
                *content.options,
                *content.paths,
                *(path.rpartition("/")[2] for path in content.paths),
                *(_component(path) for path in content.paths if path.startswith(UNITS)),
            }
        )

    def _phases(self, word: str) -> Iterator[Topic]:
        for phase in PHASES:
            entry = book.phase_entry(phase.name)
            if phase.name == word and entry:
                hosts = ", ".join(self._guide.hosts(phase)) or "nowhere by hand"
                needs = "; ".join(map(str, (*phase.needs, *phase.settle_needs))) or "nothing but what comes before it"
                wanted = [
                    f"{node.name}: {', '.join(resource.id for resource in self._guide.resources(phase, node))}"
                    for node in self._guide.nodes(phase)
                    if phase.task
                ]
                here = "\n".join((f"on {hosts}", f"needs {needs}", *wanted))
                by_hand = f"khw explain --phase {phase.name} --shell"
                yield replace(_topic("phase", phase.name, entry, here, by_hand), chapter=phase.chapter)

    def _checks(self, word: str) -> Iterator[Topic]:
        for name in _check_names():
            entry = book.check_entry(name)
            if entry and typed(name) == typed(word):
                here = f"khw verify {typed(name)}\nlikely, when it fails: {entry.likely}"
                yield _topic("check", name, entry, here, entry.show.format(node="NODE", subject="SUBJECT"))

    def _certificates(self, word: str) -> Iterator[Topic]:
        content = self._content
        for name in content.certificates:
            entry = book.certificate_entry(name)
            if name == word.removesuffix(".pem") and entry:
                rows = [content.certificate(name), *content.places(name), *content.talks(name)]
                by_hand = "# after the functions at the beginning of: khw explain --phase certificates --shell"
                yield _topic("certificate", name, entry, "\n".join(rows), f"{by_hand}\n{self._made(name)}")

    def _made(self, name: str) -> str:
        authority = next((row for row in AUTHORITIES if f"{row.name}-ca" == name), None)
        identity = self._content.identity(name)
        if authority:
            return openssl.of_authority(authority)
        return openssl.of_identity(identity) if identity else ""

    def _flags(self, word: str) -> Iterator[Topic]:
        wanted, flag = _owned(word)
        for (component, name), values in self._content.flags.items():
            entry = book.flag_entry(component, name)
            if name == flag and wanted in {"", component} and entry:
                unit = f"{component}.service"
                edit = f"vi {UNITS}{unit}\nsystemctl daemon-reload && systemctl restart {unit}"
                yield _topic(f"flag of {component}", f"--{name}", entry, _by_value(values), edit)

    def _fields(self, word: str) -> Iterator[Topic]:
        wanted, field = _owned(word)
        for (component, name), values in self._content.fields.items():
            entry = book.field_entry(component, name)
            if name == field and wanted in {"", component} and entry:
                yield _topic(f"field of {component}", name, entry, _by_value(values), "")

    def _options(self, word: str) -> Iterator[Topic]:
        values = self._content.options.get(word)
        entry = book.option_entry(word)
        if values and entry:
            yield _topic("option of units", word, entry, _by_value(values), "sudo systemctl cat UNIT")

    def _files(self, word: str, host: str | None) -> Iterator[Topic]:
        for path, hosts in self._content.paths.items():
            names = {path, path.rpartition("/")[2], _component(path)}
            entry = book.file_entry(path)
            if word in names and entry and (host is None or host in hosts):
                chosen = host or hosts[0]
                resource = self._content.by_host[chosen][path]
                kind = "unit" if isinstance(resource, Unit) else resource.id.partition(":")[0]
                text = self._content.text(path, chosen)
                head = f"on {', '.join(hosts)}" + (f"; as on {chosen}:" if text else "")
                yield _topic(kind, path, entry, f"{head}\n{text}".rstrip(), lines(resource, Needed()))


def about_phase(phase: Phase, host: str) -> str:
    """Return what a phase is and why, in a few lines, for who is asked before it begins (on this host first)."""
    entry = book.phase_entry(phase.name)
    head = f"chapter {phase.chapter}, {phase.name}: {phase.title} (first on {host})"
    texts = (entry.what, entry.why) if entry else ()
    return "\n".join((head, *(f"  {' '.join(text.split())}" for text in texts)))


def _topic(kind: str, name: str, entry: Entry, here: str, by_hand: str) -> Topic:
    return Topic(
        kind=kind,
        name=name,
        chapter=entry.chapter,
        what=entry.what,
        why=entry.why,
        breaks=entry.breaks,
        source=entry.source,
        here=here,
        by_hand=by_hand,
    )


def _component(path: str) -> str:
    """Return the unit's name without .service; of another path, the path."""
    return path.removeprefix(UNITS).removesuffix(".service")


def _check_names() -> list[str]:
    return list(dict.fromkeys((REACHABLE, *(check.name for check in CHECKS))))


def _owned(word: str) -> tuple[str, str]:
    """Return component and flag of 'kubelet:node-ip'; of '--node-ip' the component is ''."""
    component, _, name = word.rpartition(":")
    return component, name.lstrip("-").partition("=")[0]


def _by_value(values: Mapping[str, str]) -> str:
    """Return each value with the nodes that have it."""
    hosts: dict[str, list[str]] = {}
    for host, value in values.items():
        hosts.setdefault(value, []).append(host)
    return "\n".join(f"{value}  ({', '.join(names)})" for value, names in hosts.items())
