"""`python -m tests.rum.beacon.bench [visits]`: what starting costs the main thread of a page, at 4× CPU slowdown.

Thread time times four: Chromium's own slowdown stops the thread by the clock, and on a busy machine measures the
machine. An empty script in the same run is what the measuring itself costs. Printed, not judged: an absolute time is a
matter of the machine.
"""

from __future__ import annotations

import sys
from statistics import median

from tests.rum.beacon.browser import Browser, Tab, chromium
from tests.rum.beacon.site import Site

SLOWDOWN = 4
AIM_MS = 5.0


PARTS = {"runs": "ScriptDuration", "compiles": "V8CompileDuration"}
"""What Chromium counts apart; a file that is fetched is mostly compiled by another thread."""


def spent_ms(tab: Tab) -> dict[str, float]:
    """Milliseconds that scripts of the page have run and been compiled so far."""
    found = {m["name"]: m["value"] * 1000 for m in tab("Performance.getMetrics")["metrics"]}
    return {part: found[name] for part, name in PARTS.items()}


def visit(browser: Browser, url: str, script: str) -> dict[str, float]:
    """What adding `script` to a page costs the main thread until its `load` event, fetched as users fetch it."""
    with browser.tab() as tab:
        tab("Performance.enable", timeDomain="threadTicks")
        tab.go(url)
        tab.show()
        tab.run("new Promise((done) => requestAnimationFrame(done)).then(() => 1)")
        before = spent_ms(tab)
        tab.run(
            "new Promise((done) => document.head.append(Object.assign("
            f"document.createElement('script'), {{src: '{script}', onload: () => done(1)}})))"
        )
        return {part: SLOWDOWN * (ms - before[part]) for part, ms in spent_ms(tab).items()}


def main(visits: int) -> None:
    """Print least and median of both."""
    if chromium() is None:
        sys.exit("bench: no browser: apt-get install chromium")
    browser, site = Browser(), Site()
    url, nothing = site.page("/", head=""), "/nothing.js"
    site.pages[nothing] = (200, {"Content-Type": "text/javascript"}, b"0")
    try:
        for name, script in (("empty script", nothing), ("fc.js", "/fc.js")):
            visited = [visit(browser, url, script) for _ in range(visits)]
            for part in PARTS:
                took = [one[part] for one in visited]
                print(f"{name:<12} {part:<9} least {min(took):6.2f} ms   median {median(took):6.2f} ms   of {visits}")
        print(f"aim: runs for {AIM_MS:g} ms at most")
    finally:
        browser.close()
        site.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 25)
