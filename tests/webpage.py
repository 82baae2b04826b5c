"""A page in a real browser: Chromium without a window, driven over WebDriver; it asks no site for anything."""

from __future__ import annotations

import base64
import json
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.print_page_options import PrintOptions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
QUIET = (
    "--headless",
    "--no-sandbox",  # tests of the lab run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


@dataclass(frozen=True)
class Browser:
    """An open browser."""

    driver: webdriver.Chrome

    def look(self, *, scheme: str = "light", width: int = 1280, height: int = 900, media: str = "") -> None:
        """Be a reader with this taste, at this width, on screen or (`media`: print) on paper."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})

    def open(self, page: Path) -> None:
        self.driver.get(page.as_uri())

    def ask(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def pdf(self) -> bytes:
        return base64.b64decode(self.driver.print_page(PrintOptions()))

    def complaints(self) -> list[str]:
        """What the console said since this was last asked."""
        return [row["message"] for row in self.driver.get_log("browser") if row["level"] in {"SEVERE", "WARNING"}]  # type: ignore[no-untyped-call]

    def requests(self) -> set[str]:
        """What was asked for since this was last asked, but for the browser's own pages and what is in the page."""
        rows = (json.loads(row["message"])["message"] for row in self.driver.get_log("performance"))  # type: ignore[no-untyped-call]
        urls = {row["params"]["request"]["url"] for row in rows if row["method"] == "Network.requestWillBeSent"}
        return {url for url in urls if not url.startswith(("chrome:", "data:"))}

    def too_pale(self) -> list[str]:
        """Texts whose contrast to what is behind them is less than WCAG's AA asks for."""
        found: list[str] = self.ask(CONTRAST)
        return found


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    for argument in (*QUIET, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


CONTRAST = r"""
for (const d of document.querySelectorAll('details')) d.open = true;
const rgb = c => { const m = c.match(/[\d.]+/g).map(Number); return {c: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
const lum = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b; };
const ratio = (a, b) => { const [x, y] = [lum(a), lum(b)].sort((p, q) => q - p); return (x + .05) / (y + .05); };
const behind = el => { for (let e = el; e; e = e.parentElement) {
  const bg = rgb(getComputedStyle(e).backgroundColor); if (bg.a > 0) return bg.c; } return [255, 255, 255]; };
const pale = [];
for (const el of document.querySelectorAll('body *:not(svg *)')) {
  const own = [...el.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !el.getClientRects().length) continue;
  const s = getComputedStyle(el), big = parseFloat(s.fontSize) >= 24;
  const r = ratio(rgb(s.color).c, behind(el));
  if (r < (big ? 3 : 4.5)) pale.push(`${r.toFixed(2)} ${el.tagName} ${el.textContent.trim().slice(0, 40)}`);
}
for (const svg of document.querySelectorAll('svg')) {
  const all = [...svg.querySelectorAll('rect, circle, text')];
  const boxes = new Map(all.map(e => [e, e.getBoundingClientRect()]));
  all.forEach((t, i) => {
    if (t.tagName !== 'text') return;
    const b = boxes.get(t), x = b.x + b.width / 2, y = b.y + b.height / 2;
    const under = all.slice(0, i).filter(e => {
      const o = boxes.get(e), s = getComputedStyle(e);
      const holds = o.left <= x && x <= o.right && o.top <= y && y <= o.bottom;
      return e.tagName !== 'text' && s.fill !== 'none' && holds;
    });
    const bg = under.length ? rgb(getComputedStyle(under.at(-1)).fill).c : behind(svg);
    const r = ratio(rgb(getComputedStyle(t).fill).c, bg);
    if (r < 4.5) pale.push(`${r.toFixed(2)} svg ${t.textContent.slice(0, 40)}`);
  });
}
return pale;
"""
