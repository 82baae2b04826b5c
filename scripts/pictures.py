"""
Draw the pictures of docs/images anew, from a real run in a lab of its own: `make pictures` (root, Chromium).

    live-80.svg, live-120.svg          the live view, at its busiest moment of the run
    report-{light,dark,phone}.webp     the report, in a browser
    network.svg, components.svg, tls.svg, gantt.svg
"""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.terminal_theme import MONOKAI

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from webpage import Browser, browser  # noqa: E402 - the tests' own

from khw import diagrams  # noqa: E402
from khw.diagrams.gantt import gantt  # noqa: E402
from khw.engine.phases import PHASES  # noqa: E402
from khw.history import forecast, timeline  # noqa: E402
from khw.live.frame import Size, frame  # noqa: E402
from khw.live.model import Model, Now  # noqa: E402
from khw.pages.gather import gather  # noqa: E402
from khw.pages.report import report  # noqa: E402
from khw.session import open_session, plan_for  # noqa: E402

if TYPE_CHECKING:
    from khw.engine.events import Event
    from khw.session import Session

LAB = "pictures"
IMAGES = ROOT / "docs" / "images"
KHW = str(Path(sys.executable).with_name("khw"))
STEP = 0.5  # seconds between two moments that are looked at


def main() -> None:
    """Make a cluster, draw it, and take it away."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        subprocess.run([KHW, "lab", "up", "--name", LAB], check=True)
        try:
            subprocess.run([KHW, "init", "--lab", LAB], check=True)
            session = open_session(folder / "khw.yaml")
            live_view(session)
            session.verify(wait=60)
            pictures(session)
            pages(session, folder)
        finally:
            subprocess.run([KHW, "lab", "down", "--name", LAB], check=True)


def live_view(session: Session) -> None:
    """Run it all, and draw the view's busiest moment at both widths."""
    told: list[tuple[float, Event]] = []
    plan = plan_for(session, PHASES, limit=None, failed=False, parallel=64)
    assert plan is not None  # noqa: S101 - all of it is wanted
    outcome = session.run(plan, sinks=[lambda event: told.append((time.monotonic(), event))], what="run")
    if outcome.report.exit_code:
        sys.exit("the run did not end well: nothing is drawn")
    moments = [told[0][0] + STEP * n for n in range(int((told[-1][0] - told[0][0]) / STEP))]
    best = max(moments, key=lambda at: _busy(_model(told, at)))
    model, paces = _model(told, best), forecast.paces(session.workspace.runs)
    for columns in (80, 120):
        console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
        lines = frame(model, Size(columns=columns, lines=24), best, expected=forecast.expected(paces, model))
        for line in lines:
            console.print(line, soft_wrap=True)
        svg = console.export_svg(title="khw run", theme=MONOKAI)
        (IMAGES / f"live-{columns}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL))


def _model(told: list[tuple[float, Event]], until: float) -> Model:
    model = Model()
    for at, event in told:
        if at <= until:
            model.apply(event, at)
    return model


def _busy(model: Model) -> float:
    rows = model.rows.values()
    work = sum(row.cells.get(row.phase) is Now.AT_WORK and bool(row.resource) for row in rows)
    return work + sum(1.5 for row in rows if row.waits) + sum(0.5 for row in rows if 0 < row.sent < row.size)


def pictures(session: Session) -> None:
    """Draw every picture of the cluster, and the run in time."""
    seen = session.observe()
    for name in diagrams.NAMES:
        (IMAGES / f"{name}.svg").write_text(diagrams.draw(name, seen))
    (IMAGES / "gantt.svg").write_text(gantt(timeline.read(session.workspace.runs)))


def pages(session: Session, folder: Path) -> None:
    """Open the report in a browser, and keep what is seen of it."""
    page = folder / "report.html"
    page.write_text(report(gather(session)), "utf-8")
    with browser(folder / "profile") as it:
        it.look(width=1200, height=1500)
        it.open(page)
        _keep(it, "report-light")
        it.look(scheme="dark", width=1200, height=1500)
        it.open(page)
        it.ask("document.querySelector('#tls').scrollIntoView()")
        _keep(it, "report-dark")
        it.look(width=390, height=1100)
        it.open(page)
        _keep(it, "report-phone")


def _keep(it: Browser, name: str) -> None:
    shot = it.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "webp", "quality": 85})
    (IMAGES / f"{name}.webp").write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main()
