"""How long a report takes to open in Chromium, from the file to the first frame shown.

    python benchmarks/report_opening.py report.html [--times 7]

Needs Chromium, its driver and selenium. Each opening is in a new browser, so that nothing of the one before helps.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "scoring"))

from browser import browser, missing

MOMENTS = """
const [navigation] = performance.getEntriesByType("navigation");
return [navigation.domContentLoadedEventEnd, Number(document.documentElement.dataset.milliseconds)];
"""


def main() -> None:
    """Print the size of a report and the middle of several openings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path)
    parser.add_argument("--times", type=int, default=7)
    arguments = parser.parse_args()
    if missing():
        raise SystemExit(missing())
    page = arguments.report.resolve()
    print(f"{page.name}: {page.stat().st_size / 1e6:.1f} MB")
    opened = []
    for _ in range(arguments.times):
        with browser() as window:
            window.open(page)
            opened.append(window.run(MOMENTS))
    for what, seconds in zip(("DOMContentLoaded", "first frame shown"), zip(*opened, strict=True), strict=True):
        ordered = sorted(value / 1000 for value in seconds)
        print(f"{what:18} {ordered[len(ordered) // 2]:.2f} s   (of {len(ordered)}: {ordered[0]:.2f} to {ordered[-1]:.2f} s)")


if __name__ == "__main__":
    main()
