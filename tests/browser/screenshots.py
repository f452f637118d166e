"""Pictures of a run's report for docs/images: light, figures, rows, phone.

python tests/browser/screenshots.py RUN [FOLDER]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
DESKTOP, PHONE = {"width": 1200, "height": 820}, {"width": 390, "height": 844}
SHOTS = (
    ("light", "light", DESKTOP, "#main"),
    ("figures", "light", DESKTOP, "figure:has([data-plot^=confusion])"),
    ("rows", "dark", DESKTOP, "#rows"),
    ("phone", "light", PHONE, "#leaderboard"),
)


def main(run: str, folder: str = str(IMAGES)) -> None:
    """Take every picture."""
    report = (Path(run) / "report.html").resolve()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, theme, size, place in SHOTS:
            page = browser.new_page(viewport=size, color_scheme=theme)
            page.goto(report.as_uri())
            page.wait_for_selector("html[data-ready=true]")
            page.locator(place).first.evaluate("place => place.scrollIntoView({ behavior: 'instant' })")
            page.wait_for_timeout(1500)  # figures above may be drawn now, and move what is below
            page.locator(place).first.evaluate("place => place.scrollIntoView({ behavior: 'instant' })")
            page.wait_for_timeout(500)
            path = Path(folder) / f"report-{name}.png"
            page.screenshot(path=path)
            print(path)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
