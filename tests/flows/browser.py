"""A headless Chromium for tests that look at pages."""

import shutil
from collections.abc import Callable
from pathlib import Path

from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--window-size=1400,900",
)
_NATURAL_WIDTHS = "return [...document.querySelectorAll('img')].map(one => one.naturalWidth)"


class Browser:
    """A window on a server's pages; pictures of them go to a folder, if there is one."""

    def __init__(self, address: str, pictures: str | None, *arguments: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = _program("chromium", "google-chrome")
        for argument in (*_ARGUMENTS, *arguments):
            options.add_argument(argument)
        self.driver = webdriver.Chrome(options=options, service=Service(_program("chromedriver")))
        self._base, self._pictures = address, pictures and Path(pictures)

    def open(self, path: str) -> None:
        self.driver.get(self._base + path)

    def says(self, *told: str) -> bool:
        """Whether the page says all this, within a minute."""
        body = (By.TAG_NAME, "body")
        if self._in_time(lambda: all(one in self.driver.find_element(*body).text for one in told)):
            return True
        print(f"{self.driver.current_url} says\n{self.driver.find_element(*body).text}")
        return False

    def shows_image(self, width: int) -> bool:
        """Whether the page shows an image that is so wide by itself, within a minute."""
        return self._in_time(
            lambda: any(one >= width for one in self.driver.execute_script(_NATURAL_WIDTHS))
        )

    def _in_time(self, reached: Callable[[], bool]) -> bool:
        try:
            return WebDriverWait(self.driver, 60).until(lambda driver: reached())
        except TimeoutException:
            return False

    def click(self, text: str) -> None:
        self.driver.find_element(By.XPATH, f"(//*[normalize-space(.)='{text}'])[last()]").click()

    def keep(self, name: str) -> None:
        if self._pictures:
            self._pictures.mkdir(parents=True, exist_ok=True)
            assert self.driver.save_screenshot(str(self._pictures / f"{name}.png"))


def _program(*names: str) -> str:
    found = [path for path in map(shutil.which, names) if path]
    assert found, f"one of {names} must be installed (Debian: chromium, chromium-driver)"
    return found[0]
