"""The report in a real browser: what a user sees who points, clicks, and presses keys."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from made_report import FRAMES, LEVEL, STEP, make_inputs, make_report

pytest.importorskip("selenium", reason="selenium is not installed (pip install -e '.[dev]')")

from browser import Browser, browser, missing
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

ANOMALOUS: dict[str, range | None] = {"a": range(25, 35), "b": range(0), "c": range(5, 12)}
HOSTILE = (
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script><!--",
    '"><svg onload=window.hacked=1>',
    "' autofocus onfocus=window.hacked=1 '",
    "x" * 240,
)
BOXES = ((12, 14, 29, 29), (36, 4, 43, 11))
"""x1, y1, x2, y2 in pixels of 48 x 32, the last ones included."""
SHOWN = """
const canvas = document.querySelector(`#panels canvas[data-kind="${arguments[0]}"]`);
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
return pixels.filter((_, i) => i % 4 === 0).sort()[pixels.length / 8];
"""
READY = "return document.documentElement.dataset.ready === arguments[0]"


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("page"), ANOMALOUS)


def write_page(folder: Path, anomalous: dict[str, range | None], **options: Any) -> Path:
    inputs, workspace = make_inputs(folder / "eval", anomalous)
    if options.pop("regions", False):
        write_regions(folder / "eval")
    page = folder / "report.html"
    page.write_text(make_report(inputs, workspace, **options), encoding="utf-8")
    return page


def write_regions(evaluation: Path) -> None:
    """Replace the table of regions by two, in frame 9 of the first video: an alarm, and one that is none."""
    scores = zarr.open_group(evaluation / "scores.zarr")
    if "regions" in scores:
        del scores["regions"]
    table = scores.create_group("regions", attributes={"threshold": 3.0, "sources": ["spatial", "temporal"]})
    columns = {"video": [0, 0], "frame": [9, 9], **dict(zip(("x1", "y1", "x2", "y2"), np.transpose(BOXES), strict=True))}
    for name, values in columns.items():
        table.create_array(name, data=np.array(values, np.int32))
    table.create_array("score", data=np.array([3.5, 2.5]))
    table.create_array("source", data=np.array([1, 0], np.int8))


def shown(window: Browser) -> int:
    """Return which frame the picture on the screen is of: its grey tells, boxes on it apart."""
    return round((window.run(SHOWN, "frame") - LEVEL) / STEP)


def go(window: Browser, video: int, frame: int) -> None:
    window.run("history.replaceState(null, '', '#'); location.hash = arguments[0]", f"#video-{video}-frame-{frame}")
    window.wait(READY, f"{video}-{frame}")


def point(window: Browser, frame: int) -> ActionChains:
    """Return actions that begin with the mouse over a frame of the timeline."""
    # the middle of an element is where selenium counts from
    place = """
    const line = document.getElementById("timeline");
    line.scrollIntoView({ block: "center", behavior: "instant" });
    const grid = line.querySelector(".grid");
    const [left, right] = [Number(grid.getAttribute("x1")), Number(grid.getAttribute("x2"))];
    return left + ((arguments[0] + 0.5) / arguments[1]) * (right - left) - line.clientWidth / 2;
    """
    offset = round(window.run(place, frame, FRAMES))
    return ActionChains(window.driver, duration=0).move_to_element_with_offset(window.find("#timeline"), offset, 0)


def test_it_opens_without_an_error_in_the_console_and_without_any_request(window: Browser, page: Path) -> None:
    window.open(page)
    window.run("window.scrollTo({ top: document.body.scrollHeight, behavior: 'instant' })")
    window.wait("return [...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    assert window.log("browser") == []
    assert {address.partition(":")[0] for address in window.requests()} == {"file", "data"}
    assert window.run("return performance.getEntriesByType('resource').filter((one) => !one.name.startsWith('data:'))") == []


def test_its_policy_stops_a_request_and_a_script_that_were_not_meant(window: Browser, page: Path) -> None:
    window.open(page)
    refused = """
    const done = arguments[0];
    fetch("https://example.org/").then(() => done("loaded"), () => done("refused"));
    """
    assert window.driver.execute_async_script(refused) == "refused"
    window.run("document.body.append(Object.assign(document.createElement('script'), { text: 'window.hacked = 1' }))")
    assert window.run("return window.hacked") is None


def test_it_opens_at_the_highest_true_anomaly(window: Browser, page: Path) -> None:
    window.open(page)
    video, frame = window.run("return document.documentElement.dataset.ready").split("-")
    assert int(frame) in (ANOMALOUS["abc"[int(video)]] or ())
    assert shown(window) == int(frame)
    assert "truly anomalous" in window.find("#readout").text


def test_an_address_opens_its_frame_and_one_that_does_not_exist_the_last(window: Browser, page: Path) -> None:
    window.open(page)
    for address, video, frame in (("0-frame-7", 0, 7), ("2-frame-9", 2, 9), ("8-frame-99", 2, FRAMES - 1)):
        window.driver.get("about:blank")
        window.driver.get(f"{page.as_uri()}#video-{address}")
        window.wait(READY, f"{video}-{frame}")
        assert shown(window) == frame
        assert window.find("#timeline").get_attribute("aria-valuenow") == str(frame)
    assert window.log("browser") == []


@pytest.mark.parametrize("width", [1280, 360])
def test_clicking_the_timeline_shows_that_frame(window: Browser, page: Path, width: int) -> None:
    window.open(page, width=width)
    for frame in (0, 17, 31, FRAMES - 1):
        go(window, 0, 3)
        point(window, frame).click().perform()
        window.wait(READY, f"0-{frame}")
        assert shown(window) == frame
        assert window.find("#timeline").get_attribute("aria-valuenow") == str(frame)
        assert f"Frame {frame}," in window.find("#readout").text
    for kind in ("flow", "map-0", "map-1"):
        label = window.find(f'#panels canvas[data-kind="{kind}"]').get_attribute("aria-label")
        assert label is not None
        assert label.endswith(f"of a, frame {FRAMES - 1}")


def test_pointing_shows_a_frame_and_leaving_returns_to_the_one_that_was_clicked(window: Browser, page: Path) -> None:
    window.open(page)
    go(window, 0, 3)
    point(window, 12).click().perform()
    window.wait(READY, "0-12")
    point(window, 33).perform()
    window.wait(READY, "0-33")
    assert shown(window) == 33
    ActionChains(window.driver, duration=0).move_to_element(window.find("h1")).perform()
    window.wait(READY, "0-12")
    assert shown(window) == 12


def test_keys_step_through_the_frames(window: Browser, page: Path) -> None:
    window.open(page)
    go(window, 0, 10)
    timeline = window.find("#timeline")
    last = FRAMES - 1
    steps = (
        (Keys.ARROW_RIGHT, 11), (Keys.ARROW_LEFT, 10), (Keys.PAGE_UP, 26), (Keys.END, last), (Keys.ARROW_RIGHT, last),
        (Keys.HOME, 0), (Keys.ARROW_LEFT, 0),
    )
    for key, frame in steps:
        timeline.send_keys(key)
        window.wait(READY, f"0-{frame}")
        assert shown(window) == frame


def test_every_control_can_be_reached_by_the_keyboard_and_shows_it(window: Browser, page: Path) -> None:
    window.open(page)
    reached = set()
    for _ in range(60):
        ActionChains(window.driver).send_keys(Keys.TAB).perform()
        found = window.run(
            "const e = document.activeElement; return [e.id || e.className || e.tagName, getComputedStyle(e).outlineStyle]"
        )
        reached.add(found[0])
        assert found[0] == "BODY" or found[1] != "none", found
    assert {"choice", "next", "play", "timeline", "strip", "moment"} <= reached


def test_every_frame_of_every_video_can_be_reached(window: Browser, page: Path) -> None:
    window.open(page)
    for video in range(len(ANOMALOUS)):
        go(window, video, 0)
        for frame in range(FRAMES):
            window.wait(READY, f"{video}-{frame}")
            assert shown(window) == frame
            window.find("#timeline").send_keys(Keys.ARROW_RIGHT)


def test_playing_goes_on_to_the_last_frame_and_stops(window: Browser, page: Path) -> None:
    window.open(page)
    go(window, 1, FRAMES - 6)
    window.find("#play").click()
    window.wait(READY, f"1-{FRAMES - 1}")
    window.wait("return document.getElementById('play').textContent === 'Play'")


def test_another_protocol_draws_its_own_lines_and_curves(window: Browser, page: Path) -> None:
    window.open(page)
    state = "return [...document.querySelectorAll('#timeline .line, #charts .line')].map((line) => line.getAttribute('d'))"
    before = window.run(state)
    assert len(before) == 3 * 4
    window.find('.protocols input[value="paper"]').click()
    after = window.run(state)
    assert len(after) == len(before)
    assert not set(before) & set(after)
    assert all(radio == "paper" for radio in window.run(
        "return [...document.querySelectorAll('.protocols input:checked')].map((radio) => radio.value)"
    ))


def test_a_mistake_leads_to_its_frame(window: Browser, page: Path) -> None:
    window.open(page)
    window.run("document.querySelector('.moments a').scrollIntoView({ block: 'center', behavior: 'instant' })")
    first = window.find('.moments[data-kind="false_alarms"] a')
    window.wait("return document.querySelector('.moments canvas').dataset.frame !== undefined")
    frame = first.find_element("css selector", "canvas").get_attribute("data-frame")
    first.click()
    window.wait("return document.documentElement.dataset.ready.endsWith(arguments[0])", f"-{frame}")
    assert str(shown(window)) == frame
    assert "truly normal" in window.find("#readout").text


def test_a_strip_opens_its_video(window: Browser, page: Path) -> None:
    window.open(page)
    for place, name in ((2, "c"), (1, "b")):
        window.run("document.querySelectorAll('.strip')[arguments[0]].click()", place)
        window.wait("return document.documentElement.dataset.ready.startsWith(arguments[0])", f"{place}-")
        label = window.find('#panels canvas[data-kind="frame"]').get_attribute("aria-label")
        assert label is not None
        assert label.startswith(f"Frame of {name}, ")


@pytest.mark.parametrize("width", [360, 320])
def test_a_narrow_window_scrolls_in_one_direction_only(window: Browser, page: Path, width: int) -> None:
    window.open(page, width=width)
    window.run("window.scrollTo({ top: document.body.scrollHeight, behavior: 'instant' })")
    assert window.run("return document.documentElement.scrollWidth") <= width
    out = """
    return [...document.body.querySelectorAll("*")].filter((node) => {
      return !node.closest(".scrolls, pre") && node.getBoundingClientRect().right > innerWidth + 0.5;
    }).map((node) => node.outerHTML.slice(0, 120));
    """
    assert window.run(out) == []


@pytest.mark.parametrize("width", [1280, 360])
def test_names_of_videos_with_markup_in_them_are_text(window: Browser, tmp_path: Path, width: int) -> None:
    window.open(write_page(tmp_path, dict.fromkeys(HOSTILE, range(5, 12))), width=width)
    window.run("window.scrollTo({ top: document.body.scrollHeight, behavior: 'instant' })")
    names = sorted(HOSTILE)
    assert sorted(window.run("return [...document.getElementById('choice').options].map((one) => one.text)")) == names
    assert sorted(window.run("return [...document.querySelectorAll('.strip .id')].map((one) => one.textContent)")) == names
    assert window.run("return window.hacked") is None
    assert window.run("return document.querySelectorAll('[onerror], [onload], [onfocus], img[src=x]').length") == 0
    assert window.run("return document.documentElement.scrollWidth") <= width
    assert window.log("browser") == []


def test_videos_without_labels_are_shown_without_a_verdict(window: Browser, tmp_path: Path) -> None:
    window.open(write_page(tmp_path, {"a": None, "b": None}))
    assert "no label" in window.find("#readout").text
    assert window.run("return document.querySelectorAll('.truth').length") == 0
    assert window.find("#mistakes h2").text == "Highest scores"
    assert "need labels" in window.find("#charts").text
    assert window.log("browser") == []


def test_regions_are_boxes_on_the_frame_that_they_were_found_in(window: Browser, tmp_path: Path) -> None:
    window.open(write_page(tmp_path, ANOMALOUS, regions=True))
    yellow = """
    const canvas = document.querySelector('#panels canvas[data-kind="frame"]');
    const scale = canvas.width / 48;
    const { data } = canvas.getContext("2d").getImageData(0, arguments[0] * scale, canvas.width, 1);
    const found = [];
    for (let x = 0; x < canvas.width; x++) if (data[4 * x] - data[4 * x + 2] > 50) found.push(x / scale);
    return found;
    """
    go(window, 0, 9)
    for row, (left, _, right, _) in ((24, BOXES[0]), (8, BOXES[1])):
        found = np.array(window.run(yellow, row))
        edges = found[np.append(True, np.diff(found) > 1)]
        assert np.abs(edges - [left, right + 1]).max() < 1, edges
    thick, thin = (len(window.run(yellow, row)) for row in (24, 8))
    assert thick > thin
    go(window, 0, 10)
    assert window.run(yellow, 24) == window.run(yellow, 8) == []


def test_an_alarm_is_told_from_a_score_below_the_threshold(window: Browser, page: Path) -> None:
    window.open(page)
    data = window.run("return JSON.parse(document.getElementById('page-data').textContent)")
    threshold = data["protocols"]["deployment"]["threshold"]
    assert threshold > 0
    level = float(window.find("#timeline .threshold").get_attribute("y1") or "nan")
    for frame, value in enumerate(data["videos"][0]["lines"]["deployment"]["fused"][:12]):
        go(window, 0, frame)
        dot = float(window.find("#timeline .dot-fused").get_attribute("cy") or "nan")
        assert (dot <= level) == (value >= threshold)
    window.find('.protocols input[value="paper"]').click()
    assert window.run("return document.querySelectorAll('#timeline .threshold').length") == 0


def test_of_a_long_video_the_nearest_frame_that_was_kept_is_shown_and_said(window: Browser, tmp_path: Path) -> None:
    window.open(write_page(tmp_path, {"a": None}, budget=4000))
    step = window.run("return JSON.parse(document.getElementById('page-data').textContent).step")
    kept = window.run("return JSON.parse(document.getElementById('page-data').textContent).videos[0].kept")
    assert step > 1
    assert len(kept) < FRAMES
    for frame in range(FRAMES):
        window.run("location.hash = arguments[0]", f"#video-0-frame-{frame}")
        window.wait("return document.getElementById('timeline').getAttribute('aria-valuenow') === arguments[0]", str(frame))
        distance = min(abs(frame - one) for one in kept)
        nearest = [f"0-{one}" for one in kept if abs(frame - one) == distance]
        window.wait("return arguments[0].includes(document.documentElement.dataset.ready)", nearest)
        assert abs(shown(window) - frame) == distance
        assert bool(window.find(".nearest").text) == (distance > 0)
    assert f"One frame in {step}" in window.find("#explained").text
