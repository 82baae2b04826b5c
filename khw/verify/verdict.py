"""What `khw verify` came to: every check, and the causes of what failed; as JSON and as JUnit's XML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from khw.checks import Status

if TYPE_CHECKING:
    from khw.checks import CheckResult
    from khw.verify.causes import Cause


@dataclass(frozen=True, slots=True)
class Verdict:
    """The results in the order of the table, and the root causes, the likeliest to matter first."""

    results: tuple[CheckResult, ...]
    causes: tuple[Cause, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(result.status is not Status.FAILED for result in self.results)

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form of `khw verify -o json`."""
        return {
            "ok": self.ok,
            "checks": [result.as_dict() for result in self.results],
            "causes": [cause.as_dict() for cause in self.causes],
        }

    def as_junit(self, suite: str) -> str:
        """Return JUnit's XML: a test case a check, its class the node; a failure has cause, evidence and command."""
        behind = {
            id(result): cause for cause in self.causes for result in (*cause.checks, *cause.symptoms)
        }  # by identity: two findings may be equal
        counts = {status: sum(r.status is status for r in self.results) for status in Status}
        root = Element(
            "testsuite",
            name=suite,
            tests=str(len(self.results)),
            failures=str(counts[Status.FAILED]),
            skipped=str(counts[Status.SKIPPED] + counts[Status.MANUAL]),
            errors="0",
        )
        for result in self.results:
            case = SubElement(
                root, "testcase", name=result.name, classname=result.node or "cluster", time=f"{result.seconds:.2f}"
            )
            if result.status in (Status.SKIPPED, Status.MANUAL):
                told = "to be judged by a person: " if result.status is Status.MANUAL else ""
                SubElement(case, "skipped", message=_clean(f"{told}{result.actual}"))
            elif result.status is Status.FAILED:
                cause = behind.get(id(result))
                failure = SubElement(
                    case,
                    "failure",
                    type=cause.id if cause else result.check,
                    message=_clean(f"expected {result.expected}; saw {result.actual}"),
                )
                lines = [cause.title if cause else "", result.cause, result.evidence, result.command]
                failure.text = _clean("\n".join(filter(None, lines)))
        indent(root)
        return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _clean(text: str) -> str:
    """Return the text without what XML 1.0 has no place for."""
    return "".join(c for c in text if c in "\t\n" or c >= " ")
