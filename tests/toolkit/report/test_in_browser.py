"""The report of a prediction as a reader drives it, in headless Chromium."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from toolkit.pictures import PREDICTION_COLOUR, TRUTH_COLOUR
from toolkit.report.prediction import case_page, index_row, write_case, write_index

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser")
EVIL = "<img src=x onerror=alert(1)>"
INSIDE, OUTSIDE = (0.35, 0.37), (0.8, 0.8)  # of width and height of the picture: in the tumour, beside it


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        own = Path(driver.chromium.executable_path)
        found = str(own) if own.exists() else next(filter(None, map(shutil.which, BROWSERS)), None)
        if found is None:
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)}, nor Playwright's own")
        browser = driver.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@dataclass
class Visit:
    """Pages that are open, and what they did that a report must not do."""

    chromium: object
    contexts: list = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def open(self, path, **settings):
        context = self.chromium.new_context(**settings)
        self.contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        page.goto(path.as_uri())
        return page


@pytest.fixture
def visit(chromium):
    visit = Visit(chromium)
    yield visit
    for context in visit.contexts:
        context.close()
    assert visit.faults == []
    assert all(url.startswith(("file:", "data:")) for url in visit.requests), "asked a host"


@pytest.fixture
def case(predicted_case):
    """Slices of one grey each, brighter from slice to slice; tumour in slices 2 to 4, and every layer."""
    grey = np.broadcast_to(300.0 + 100 * np.arange(5)[:, None, None], (5, 32, 40))
    mask = np.zeros(grey.shape, np.uint8)
    mask[1:4, 10:14, 12:16] = 1
    return predicted_case(
        name=f"a {EVIL} case",
        images=grey,
        mask=mask,
        truth=mask,
        maps={"uncertainty": np.full(grey.shape, 255, np.uint8), "grad_cam": np.zeros(grey.shape, np.uint8)},
        uncertainty_score=0.25,
        enhanced=np.full(grey.shape, 170, np.uint8),
    )


@pytest.fixture
def report_of_a_case(case, tmp_path):
    write_case(tmp_path / "one" / "report.html", case, {})
    return tmp_path / "one" / "report.html"


@pytest.fixture
def page(visit, report_of_a_case):
    return visit.open(report_of_a_case)


@pytest.fixture
def lone_page(visit, predicted_case, tmp_path):
    case = predicted_case(n_slices=1, measures={"area_pixels": [0]})
    write_case(tmp_path / "report.html", case, {})
    return visit.open(tmp_path / "report.html")


@pytest.fixture
def index(visit, predicted_case, tmp_path):
    named = (("case-10", 0.2, 3.0), ("case-9", 0.9, 20.0), (f"case-{EVIL}", 0.1, None))
    cases = [
        predicted_case(name=name, uncertainty_score=score, measures={"area_pixels": [0] * 5, "volume_ml": volume})
        for name, score, volume in named
    ]
    report = tmp_path / "report.html"
    for case in cases:
        write_case(case_page(report, case.name), case, {}, report)
    write_index(report, [index_row(report, case, 128) for case in cases], [], {})
    return visit.open(tmp_path / "report.html")


def colour(page, place=OUTSIDE):
    """Red, green and blue of the canvas at a place of the picture, once all is drawn."""
    page.wait_for_function("latest === Number(canvas.dataset.drawn)")
    code = "([x, y]) => [...context.getImageData(x * canvas.width, y * canvas.height, 1, 1).data]"
    return tuple(page.evaluate(code, list(place)))[:3]


def colours(page):
    """All colours of the canvas."""
    page.wait_for_function("latest === Number(canvas.dataset.drawn)")
    code = """() => [...new Set(new Uint32Array(
      context.getImageData(0, 0, canvas.width, canvas.height).data.buffer))]"""
    return {tuple(int(word).to_bytes(4, "little")[:3]) for word in page.evaluate(code)}


def grey_of(slice_number):
    """The case is shown from 200 (black) to 800 (white)."""
    return (round(255 * (100 * slice_number) / 600),) * 3


def control(page, name):
    return page.get_by_role("slider", name=name, exact=True)


def layer(page, name):
    return page.get_by_role("checkbox", name=name)


def test_the_slice_with_most_tumour_is_there_at_once(page):
    assert control(page, "Slice").get_attribute("aria-valuetext") == "slice 2 of 5"
    assert colour(page) == grey_of(2)


def test_the_slider_changes_the_slice_and_says_so(page):
    control(page, "Slice").fill("4")
    assert control(page, "Slice").get_attribute("aria-valuetext") == "slice 5 of 5"
    assert page.locator("#slice-text").inner_text() == "5 of 5"
    assert page.get_by_role("img", name="slice 5 of 5, no tumour marked").is_visible()
    assert colour(page) == grey_of(5)


@pytest.mark.parametrize(
    ("keys", "number"),
    [
        ("ArrowRight", 3),
        ("ArrowUp", 3),
        ("ArrowLeft", 1),
        ("ArrowDown", 1),
        ("End", 5),
        ("Home", 1),
        ("PageUp", 5),
        ("PageDown", 1),
        ("End ArrowRight ArrowLeft", 4),
    ],
)
def test_keys_on_the_picture_change_the_slice(page, keys, number):
    page.locator("#stage").focus()
    for key in keys.split():
        page.keyboard.press(key)
    assert colour(page) == grey_of(number)


def test_the_keyboard_alone_reaches_the_picture_and_shows_where_it_is(page):
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "stage":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_wheel_over_the_picture_changes_the_slice(page):
    page.locator("#stage").hover()
    page.mouse.wheel(0, 100)
    page.wait_for_function("shown === 2")
    page.mouse.wheel(0, -200)
    page.wait_for_function("shown === 0")
    assert page.evaluate("scrollY") == 0


def test_a_row_of_the_table_brings_its_slice(page):
    page.get_by_role("button", name="4", exact=True).click()
    assert colour(page) == grey_of(4)
    assert page.locator("tr[aria-current]").get_attribute("data-slice") == "4"


def test_mask_and_truth_are_switched_by_click_and_by_key(page):
    assert {PREDICTION_COLOUR, TRUTH_COLOUR} < colours(page)
    red, _, blue = colour(page, INSIDE)
    assert red > grey_of(2)[0] > blue, "orange over grey"
    layer(page, "Prediction").uncheck()
    assert colour(page, INSIDE) == grey_of(2)
    assert colours(page) & {PREDICTION_COLOUR, TRUTH_COLOUR} == {TRUTH_COLOUR}
    page.locator("#stage").focus()
    page.keyboard.press("m")
    assert layer(page, "Prediction").is_checked()
    page.keyboard.press("t")
    assert not layer(page, "Truth").is_checked()
    assert colours(page) & {PREDICTION_COLOUR, TRUTH_COLOUR} == {PREDICTION_COLOUR}
    page.keyboard.press("m")
    assert colours(page) == {grey_of(2)}


def test_maps_and_the_enhanced_image_are_shown_when_asked_for(page):
    layer(page, "Uncertainty").check()
    assert colour(page) != grey_of(2)
    page.keyboard.press("u")
    layer(page, "Grad-CAM").check()
    assert colour(page) == grey_of(2), "a map of zeros hides nothing"
    assert colour(page, INSIDE) == grey_of(2), "a mask is an outline while a map is shown"
    assert PREDICTION_COLOUR in colours(page)
    page.keyboard.press("e")
    assert layer(page, "Enhanced image").is_checked()
    assert colour(page) == (255, 255, 255)


def test_opacity_of_the_overlays(page):
    control(page, "Opacity").fill("0")
    assert colours(page) == {grey_of(2)}
    control(page, "Opacity").fill("100")
    strong = colour(page, INSIDE)
    control(page, "Opacity").fill("50")
    grey = grey_of(2)[2]
    assert abs(strong[2] - grey) > abs(colour(page, INSIDE)[2] - grey) > 0
    assert control(page, "Opacity").get_attribute("aria-valuetext") == "50 %"


def test_window_and_level_change_the_pixels_in_the_units_of_the_scan(page):
    assert control(page, "Window").get_attribute("aria-valuetext") == "600"
    assert control(page, "Level").get_attribute("aria-valuetext") == "501"  # 500, in 256 steps
    control(page, "Window").fill("51")  # 120 around 500: 400 is below
    assert control(page, "Window").get_attribute("aria-valuetext") == "120"
    assert colour(page) == (0, 0, 0)
    control(page, "Level").fill("0")
    assert colour(page) == (255, 255, 255)
    page.get_by_role("button", name="Reset window and level").click()
    assert colour(page) == grey_of(2)
    control(page, "Level").fill("0")
    page.keyboard.press("r")
    assert colour(page) == grey_of(2)


def test_dragging_over_the_picture_changes_window_and_level(page):
    def drag(dx, dy):
        box = page.locator("#stage").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + dx, y + dy, steps=5)
        page.mouse.up()
        page.mouse.move(x, y)

    drag(0, 60)
    assert int(control(page, "Level").input_value()) < 110
    assert colour(page)[0] > grey_of(2)[0]
    page.keyboard.press("r")
    drag(-100, 0)
    assert int(control(page, "Window").input_value()) < 230
    assert colour(page)[0] < grey_of(2)[0]


def test_a_lone_picture_works_without_slices(lone_page):
    before = colour(lone_page)
    lone_page.locator("#stage").focus()
    lone_page.keyboard.press("ArrowRight")
    control(lone_page, "Level").fill("0")
    assert colour(lone_page) != before


def test_cases_are_sorted_by_each_heading_and_unknown_is_last(index):
    def names():
        return [text.removesuffix(EVIL) for text in index.locator("#cases tbody th").all_inner_texts()]

    def click(heading):
        index.get_by_role("button", name=heading).click()
        return names(), index.locator("th[aria-sort]").get_attribute("aria-sort")

    worst_first = ["case-9", "case-10", "case-"]
    assert (names(), index.locator("th[aria-sort]").inner_text()) == (worst_first, "Look first")
    assert click("Look first") == (worst_first[::-1], "ascending")
    assert click("Look first") == (worst_first, "descending")
    assert click("Volume") == (["case-9", "case-10", "case-"], "descending")
    assert click("Volume") == (["case-10", "case-9", "case-"], "ascending")
    assert click("Case")[0][1:] == ["case-9", "case-10"], "numbers in names count as numbers"


def test_from_the_index_to_a_case_and_back(index):
    index.get_by_role("link", name=EVIL).click()
    assert EVIL in index.get_by_role("heading", level=1).inner_text()
    assert control(index, "Slice").is_visible()
    index.get_by_role("link", name="All cases").click()
    assert index.locator("#cases").is_visible()


def test_the_page_itself_forbids_the_network(page):
    code = """() => new Promise((resolve) => {
      document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
      fetch("http://127.0.0.1:9/").catch(() => {});
    })"""
    assert page.evaluate(code) == "connect-src"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen(report_of_a_case, index, visit, tmp_path, scheme):
    for file in (report_of_a_case, tmp_path / "report.html", *(tmp_path / "cases").iterdir()):
        phone = visit.open(file, viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
        assert phone.evaluate("document.documentElement.scrollWidth") == 360
        ground = phone.evaluate("getComputedStyle(document.body).backgroundColor")
        assert ground == {"light": "rgb(246, 247, 248)", "dark": "rgb(20, 23, 26)"}[scheme]
        assert phone.get_by_text("Research software, not a medical device.").is_visible()


def test_without_scripts_a_picture_is_shown(report_of_a_case, visit):
    still = visit.open(report_of_a_case, java_script_enabled=False)
    assert still.get_by_role("img", name="tumour outlined").is_visible()
    assert not still.locator("#viewer").is_visible()
