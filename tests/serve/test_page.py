"""The page in a real browser: pictures in, instances, the slider, files out.

Chromium with its driver (Debian: chromium, chromium-driver) and `pip install selenium`.
"""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from patience import PATIENCE
from PIL import Image
from shape_server import ShapeModel, png, serving

webdriver = pytest.importorskip("selenium.webdriver")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and its driver"),
]

DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], arguments[1], {type: "image/png"}));
const event = arguments[2] === "drop" ? new DragEvent("drop", {dataTransfer: data, bubbles: true})
    : new ClipboardEvent("paste", {clipboardData: data, bubbles: true});
document.getElementById("drop").dispatchEvent(event);
"""
FOUND = "document.querySelectorAll('#list [role=option]').length"


class Browser:
    """Somebody who has the page open."""

    def __init__(self, downloads: Path) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(flag)
        several = {"profile.default_content_setting_values.automatic_downloads": 1}
        options.add_experimental_option("prefs", several)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.downloads = downloads
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        where = {"behavior": "allow", "downloadPath": str(downloads)}
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)

    def run(self, script: str, *args):
        return self.driver.execute_script(script, *args)

    def until(self, what: str):
        """Wait until an expression is true, and give its value."""
        until = time.monotonic() + PATIENCE
        while not (value := self.run(f"return {what}")):
            assert time.monotonic() < until, (what, self.driver.get_log("browser"))
            time.sleep(0.05)
        return value

    def text(self, name: str) -> str:
        return self.run("return document.getElementById(arguments[0]).textContent", name)

    def give(self, data: bytes, name: str = "a.png", how: str = "drop") -> None:
        import base64

        self.run(DROP, base64.b64encode(data).decode(), name, how)

    def slide(self, value: float) -> None:
        self.run(
            "const s = document.getElementById('threshold'); s.value = arguments[0];"
            "s.dispatchEvent(new Event('input'))",
            value,
        )

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def save(self, what: str, name: str) -> Path:
        """Press a button of the downloads, and wait for its file."""
        path = self.downloads / name
        path.unlink(missing_ok=True)
        self.run("document.querySelector(`[data-save=${arguments[0]}]`).click()", what)
        until = time.monotonic() + PATIENCE
        while not path.exists():
            assert time.monotonic() < until, sorted(self.downloads.iterdir())
            time.sleep(0.05)
        return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("downloads"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def page(browser):
    """The page of a server, opened."""
    with serving(threshold=0.7, lowest=0.2) as client:
        browser.client = client
        browser.driver.get(client.address)
        browser.until("document.getElementById('about').textContent")
        yield browser
        browser.driver.get("about:blank")


def requests(page) -> int:
    """Pictures that the server was asked about."""
    return len(page.client.service.worker.model.runs)


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_drop_instances_slider_download(page, how):
    page.give(png(96, 128), how=how)
    assert page.until(FOUND) == 2
    assert page.text("count") == "2 instances" and page.text("classes") == "1 cell1 dust"
    page.slide(0.25)
    assert page.until(f"{FOUND} === 3")
    page.slide(0.9)
    assert page.until(f"{FOUND} === 1") and page.text("least") == "0.90"
    assert requests(page) == 1  # all of it without another call

    content = json.loads(page.save("json", "a_found.json").read_text())
    assert [row["score"] for row in content["annotations"]] == pytest.approx([0.95])
    drawn = np.asarray(Image.open(page.save("png", "a_found.png")).convert("RGB"), int)
    plain = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    changed = abs(drawn - plain).sum(axis=2) > 0
    assert changed[20, 20] and not changed[28, 36] and not changed[80, 100]  # a hole stays a hole
    via = json.loads(page.save("via", "via.json").read_text())
    (entry,) = via["_via_img_metadata"].values()
    assert entry["filename"] == "a.png" and len(entry["regions"]) == 1
    assert requests(page) == 1


def test_hover_and_keys(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page.give(png(96, 128))
    page.until(FOUND)
    canvas = page.driver.find_element(By.ID, "canvas")
    scale = canvas.size["width"] / 128
    for x, y, told in ((20, 20, "cell 0.95"), (36, 28, ""), (38, 67, "dust 0.80"), (2, 2, "")):
        ActionChains(page.driver).move_to_element_with_offset(
            canvas, round((x - 64) * scale), round((y - 48) * scale)
        ).perform()
        tip = "document.getElementById('tip')"
        assert page.run(f"return {tip}.hidden ? '' : {tip}.textContent") == told
    page.run("document.getElementById('list').focus()")
    lit = "return document.querySelector('[aria-selected=true]')?.textContent"
    active = "return document.getElementById('list').getAttribute('aria-activedescendant')"
    assert page.run(lit) == "cell0.95"
    page.keys(Keys.ARROW_DOWN)
    assert page.run(lit) == "dust0.80" and page.run(active)
    page.keys(Keys.ESCAPE)
    assert page.run(lit) is None


def test_several_pictures_and_bad_ones(page):
    page.give(png(96, 128))
    page.give(b"hello", "b.txt")
    page.give(png(64, 64), "c.png")
    states = "[...document.querySelectorAll('#pictures .state')].map((one) => one.textContent)"
    page.until(f"({states}).join() === '2 instances,failed,2 instances'")
    assert page.text("error").startswith("b.txt is no picture")
    content = json.loads(page.save("coco", "coco.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png", "c.png"]
    assert len(content["annotations"]) == 4


def test_a_picture_that_no_browser_shows(page, tmp_path):
    Image.fromarray(np.zeros((60, 80), np.uint16)).save(tmp_path / "a.tif")
    page.give((tmp_path / "a.tif").read_bytes(), "a.tif")
    assert page.until(FOUND) == 2


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_widths(page, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": width < 800}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.give(png(300, 900))
        for i in range(6):
            page.give(png(96, 128), f"a long name of a picture {i}.png")
        page.until("[...document.querySelectorAll('#pictures .state')].length === 7")
        page.until(FOUND)
        assert page.run("return document.documentElement.scrollWidth") <= width
        small = page.run(
            "return [...document.querySelectorAll('button, .button')].filter((b) => "
            "b.offsetParent && b.getBoundingClientRect().height < 43).length"
        )
        assert small == 0  # a finger wants room
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_what_a_screen_reader_finds(page):
    page.give(png(96, 128))
    page.until(FOUND)
    nameless = page.run("""
        return [...document.querySelectorAll("input, button, a, canvas, [role]")].filter((one) =>
            one.offsetParent && !(one.textContent.trim() || one.getAttribute("aria-label")
            || one.getAttribute("aria-labelledby") || one.labels?.length)
            && !one.matches("[aria-live], [role=alert]")).map((one) => one.outerHTML)""")
    assert nameless == []
    page.until("document.getElementById('status').textContent === 'a.png: 2 instances.'")
    label = page.run("return document.getElementById('canvas').getAttribute('aria-label')")
    assert label == "a.png: 2 instances, 1 cell, 1 dust"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(page, scheme):
    """Text and buttons against what is behind them: at least 4.5, WCAG's AA."""
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    page.give(png(96, 128))
    page.give(b"hello", "b.txt")
    page.until(FOUND)
    page.until("document.getElementById('error').textContent")
    pairs = page.run("""
        const behind = (one) => { for (; one; one = one.parentElement) {
            const color = getComputedStyle(one).backgroundColor;
            if (color !== "rgba(0, 0, 0, 0)") return color; } };
        return [...document.querySelectorAll("p, a, button, label, output, span, b, h1, h2, li")]
            .filter((one) => one.offsetParent && one.textContent.trim())
            .map((one) => [getComputedStyle(one).color, behind(one), one.textContent.trim()])""")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    low = {text for color, ground, text in pairs if contrast(color, ground) < 4.5}
    assert low == set() and len(pairs) > 10


def contrast(*colors: str) -> float:
    lights = []
    for color in colors:
        rgb = np.array([float(part) for part in color[4:-1].strip("(").split(",")[:3]]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lights.append(linear @ (0.2126, 0.7152, 0.0722) + 0.05)
    return max(lights) / min(lights)


def test_token(browser):
    with serving(token="open-sesame") as client:
        browser.driver.get(client.address)
        browser.until("!document.getElementById('asking').hidden")
        assert browser.run("return document.getElementById('drop').hidden")
        browser.run("document.getElementById('token').value = 'open-sesame'")
        browser.run("document.querySelector('#asking button').click()")
        browser.until("!document.getElementById('drop').hidden")
        browser.run("sessionStorage.clear()")
        browser.driver.get("about:blank")
        browser.driver.get(f"{client.address}/#token=open-sesame")
        browser.until("!document.getElementById('drop').hidden")
        assert browser.run("return location.hash") == ""
        browser.give(png())
        assert browser.until(FOUND) == 2
        browser.run("sessionStorage.clear()")


def test_nothing_goes_wrong_in_the_console(page):
    page.driver.get_log("browser")
    page.give(png(96, 128))
    page.until(FOUND)
    severe = [row for row in page.driver.get_log("browser") if row["level"] == "SEVERE"]
    assert severe == []


def test_a_picture_with_nothing_in_it(browser):
    model = ShapeModel()
    model.detect = lambda images: [ShapeModel().detect([image])[0][:0] for image in images]
    with serving(model) as client:
        browser.driver.get(client.address)
        browser.until("document.getElementById('about').textContent")
        browser.give(png())
        browser.until("document.getElementById('count').textContent === 'Nothing found'")
