"""A page in headless Chromium, for the tests that look at one."""

import re
import shutil
from contextlib import contextmanager

import pytest


@contextmanager
def opened(address, height, seconds):
    """The page, and the hosts that it asked for anything; skips where there is no browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no browser test")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine: no browser test")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": height})
        page.set_default_timeout(1000 * seconds)
        hosts = set()
        page.on("request", lambda request: hosts.add(re.match(r"\w+:(?://)?([^/:]*)", request.url)[1]))
        page.goto(address)
        yield page, hosts
        browser.close()
