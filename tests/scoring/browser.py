"""A headless Chromium that is never left running, never goes to the network for its driver, and fails rather than hangs."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

SECONDS = 30
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # root, as CI is, can have none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--force-prefers-reduced-motion",  # nothing moves under the mouse
    "--window-size=1280,900",
)


def missing() -> str:
    """Return what is not installed, as a reason to skip; empty where all is there."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(lacking)} not found (apt-get install chromium chromium-driver)" if lacking else ""


class Browser:
    """One window, with what the tests ask of it."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, page: Path, *, width: int = 1280, ready: bool = True) -> None:
        """Open a file in a window of some width and wait for its first picture."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get("about:blank")
        self.log("browser")
        self.log("performance")
        self.driver.get(page.as_uri())
        if ready:
            self.wait("return document.documentElement.dataset.ready !== undefined")

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page and return what it returns."""
        return self.driver.execute_script(script, *arguments)

    def wait(self, script: str, *arguments: Any) -> None:
        """Wait until a script returns true."""
        WebDriverWait(self.driver, SECONDS, poll_frequency=0.02).until(lambda _: self.run(script, *arguments), script)

    def find(self, selector: str) -> WebElement:
        """Return the first element that a CSS selector matches."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def log(self, kind: str) -> list[dict[str, Any]]:
        """Return and forget the entries of a log: ``browser`` is the console."""
        entries: list[dict[str, Any]] = self.driver.get_log(kind)  # type: ignore[no-untyped-call]
        return entries

    def requests(self) -> list[str]:
        """Return the addresses of everything that was asked for since the page was opened."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser; at the end no process of it is left, whatever happened."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(shutil.which("chromedriver") or "", popen_kw={"start_new_session": True})
    driver = None
    try:
        driver = webdriver.Chrome(options=options, service=service)
        driver.command_executor.client_config.timeout = SECONDS  # type: ignore[attr-defined]
        driver.set_page_load_timeout(SECONDS)
        driver.set_script_timeout(SECONDS)
        yield Browser(driver)
    finally:
        group = service.process.pid
        with suppress(Exception):  # a browser that hangs is ended all the same
            if driver is not None:
                driver.quit()
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
