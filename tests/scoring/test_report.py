"""The report without a browser: what is in the file, and what can be read in it."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_report import FRAMES, LEVEL, STEP, ReportInputs, make_inputs, make_report
from numpy.typing import NDArray

import scoring.report.page
from pipeline.artifacts.workspace import Workspace
from scoring.report.curves import curves, operating_point, thinned
from scoring.report.data import embed, first_look, lines_size, page_data
from scoring.report.evaluation import lines, read_evaluation
from scoring.report.highlights import false_alarms, highest_unlabelled, misses
from scoring.report.markup import tag
from scoring.report.pictures import Pictures, Scale, make_pictures
from scoring.report.samples import make_samples

ROOT = Path(__file__).parents[2]
ANOMALOUS: dict[str, range | None] = {"a": range(25, 35), "b": range(0), "c": range(5, 12)}
HOSTILE = "</script><script>window.hacked = 1</script><!--"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportInputs, Workspace]:
    return make_inputs(tmp_path_factory.mktemp("report") / "eval", ANOMALOUS)


@pytest.fixture(scope="module")
def page(made: tuple[ReportInputs, Workspace]) -> str:
    return make_report(*made)


class Addresses(HTMLParser):
    """Collects whatever an element could load, and the scripts that run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts: list[str | None] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self.scripts.append(dict(attrs).get("type"))
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "data", "poster")]


def data_in(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="page-data">(.*?)</script>', page)
    assert found is not None
    content: dict[str, object] = json.loads(found[1])
    return content


def pictures_in(page: str, kind: str, video: int) -> Iterator[NDArray[np.uint8]]:
    found = re.search(rf'<script type="text/plain" id="{kind}-{video}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    for line in found[1].split("\n"):
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(line), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        yield np.asarray(picture[..., ::-1], np.uint8)


def test_nothing_in_the_page_leads_out_of_it(page: str) -> None:
    addresses = Addresses(page)
    assert addresses.found
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in addresses.found)
    assert "url(" not in page
    assert "@import" not in page


def test_its_policy_allows_the_one_script_and_the_one_style_that_are_in_it(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy[1]
    for name in ("script", "style"):
        text = re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        assert len(text) == 1
        digest = base64.b64encode(hashlib.sha256(text[0].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy[1]


def test_every_frame_of_every_video_is_there_and_is_that_frame(page: str) -> None:
    for video in range(len(ANOMALOUS)):
        found = list(pictures_in(page, "frame", video))
        assert len(found) == FRAMES
        for frame, picture in enumerate(found):
            assert abs(picture.mean() - (LEVEL + STEP * frame)) < 2


def test_maps_are_stacked_in_the_order_of_their_names_and_brighter_where_the_error_is(page: str) -> None:
    maps = data_in(page)["maps"]
    assert isinstance(maps, list)
    assert [entry["name"] for entry in maps] == ["spatial", "temporal"]
    stacked = list(pictures_in(page, "maps", 0))[30]
    assert stacked.shape == (16, 12, 3)
    spatial, temporal = stacked[:8], stacked[8:]
    assert spatial[2:4, 3:6].mean() > spatial[5:].mean() + 10
    assert temporal.mean() > spatial.mean() + 10  # twice the error everywhere


def test_the_same_artifacts_give_the_same_bytes(made: tuple[ReportInputs, Workspace], page: str) -> None:
    assert make_report(*made) == page


def test_a_small_budget_keeps_one_frame_in_a_few_and_those_that_are_shown(made: tuple[ReportInputs, Workspace]) -> None:
    inputs, _ = made
    evaluation = read_evaluation(inputs)
    everything = make_pictures(evaluation, inputs, [[]] * 3, 10**9, lambda *_: None)
    assert everything.step == 1
    budget = everything.size // 4
    few = make_pictures(evaluation, inputs, [[7], [], [33, 11]], budget, lambda *_: None)
    assert few.step >= 4
    assert few.size <= budget
    for found, wanted in zip(few.videos, ({7}, set(), {33, 11}), strict=True):
        assert set(found["frame"]) == set(range(0, FRAMES, few.step)) | wanted
        assert set(found["flow"]) == set(found["maps"]) == set(found["frame"])


def test_the_budget_is_that_of_the_whole_page_but_for_what_does_not_grow(made: tuple[ReportInputs, Workspace]) -> None:
    inputs, _ = made
    evaluation = read_evaluation(inputs)
    empty = Pictures(step=1, scale=Scale(flow=1.0, maps={}), videos=[{"frame": {0: ""}}] * 3)
    numbers = [json.dumps(video["lines"]) for video in page_data(evaluation, empty, {}, (32, 48))["videos"]]
    assert lines_size(evaluation) == pytest.approx(sum(map(len, numbers)), rel=0.3)


def test_lines_are_named_by_the_table_and_fused_comes_last() -> None:
    kinds = {"score": 1.0, "contribution": 2.0}
    columns = {f"{kind}.{name}": np.full(3, value) for kind, value in kinds.items() for name in "xy"}
    table = {"frame": np.arange(3), "label": np.full(3, -1, np.int8), "score.fused": np.full(3, 4.0), **columns}
    found = lines(table, "deployment", ("y", "x", "gone"))
    assert list(found.drawn) == ["y", "x", "fused"]
    assert [value_N[0] for value_N in found.drawn.values()] == [2.0, 2.0, 4.0]
    assert [value_N[0] for value_N in lines(table, "paper", ("y", "x")).drawn.values()] == [1.0, 1.0, 4.0]


def test_curves_enclose_the_area_that_the_table_gives(made: tuple[ReportInputs, Workspace]) -> None:
    evaluation = read_evaluation(made[0])
    for protocol in ("paper", "deployment"):
        for curve in curves(evaluation, protocol):
            x_K, y_K = np.array(curve["roc"])
            stated = evaluation.metrics["protocols"][protocol][curve["name"]]["micro_auc"]
            assert curve["auc"] == stated
            assert abs(np.trapezoid(y_K, x_K) - stated) < 0.01


def test_a_long_curve_becomes_few_points_that_stay_on_it() -> None:
    x_K = np.linspace(0, 1, 50_000)
    found = np.array(thinned(x_K, np.sqrt(x_K)))
    assert found.shape[1] < 400
    assert np.abs(found[1] - np.sqrt(found[0])).max() < 0.01
    assert found[:, 0].tolist() == [0, 0]
    assert found[:, -1].tolist() == [1, 1]


def test_a_score_equal_to_the_threshold_is_an_alarm() -> None:
    truth_M = np.array([True, True, False, False])
    found = operating_point(truth_M, np.array([0.2, 0.9, 0.5, 0.1]), 0.5)
    assert found == {"false_positive_rate": 0.5, "true_positive_rate": 0.5, "precision": 0.5}
    assert operating_point(truth_M, np.zeros(4), 0.5)["precision"] is None


def test_false_alarms_are_the_highest_normal_frames_a_clip_apart(made: tuple[ReportInputs, Workspace]) -> None:
    evaluation = read_evaluation(made[0])
    found = false_alarms(evaluation)
    normal = [
        score
        for video in evaluation.videos
        for part in [video.protocols["deployment"]]
        for score, label in zip(part.score["fused"], part.label_N, strict=True)
        if label == 0
    ]
    assert found[0].score == max(normal)
    assert [moment.score for moment in found] == sorted((moment.score for moment in found), reverse=True)
    for i, one in enumerate(found):
        assert one.frame not in (ANOMALOUS["abc"[one.video]] or ())
        assert all(other.video != one.video or abs(other.frame - one.frame) >= 16 for other in found[:i])


def test_misses_are_stretches_at_their_highest_frame_the_lowest_first(made: tuple[ReportInputs, Workspace]) -> None:
    evaluation = read_evaluation(made[0])
    found = misses(evaluation)
    assert {moment.stretch for moment in found} == {(25, 35), (5, 12)}
    assert found[0].score <= found[1].score
    for moment in found:
        assert moment.stretch is not None
        part = evaluation.videos[moment.video].protocols["deployment"]
        assert moment.score == part.score["fused"][slice(*moment.stretch)].max()


def test_the_first_look_is_at_the_highest_true_anomaly(made: tuple[ReportInputs, Workspace]) -> None:
    found = first_look(read_evaluation(made[0]))
    assert found["frame"] in (ANOMALOUS["abc"[found["video"]]] or ())


def test_without_labels_there_are_highest_scores_and_neither_curves_nor_mistakes(tmp_path: Path) -> None:
    inputs, workspace = make_inputs(tmp_path / "eval", {"a": None, "b": None})
    evaluation = read_evaluation(inputs)
    assert curves(evaluation, "deployment") == []
    assert false_alarms(evaluation) == misses(evaluation) == []
    assert highest_unlabelled(evaluation)[0].score == max(
        video.protocols["deployment"].score["fused"].max() for video in evaluation.videos
    )
    assert "no labels" in make_report(inputs, workspace)


def test_no_text_ends_the_element_that_it_stands_in(tmp_path: Path) -> None:
    assert json.loads(embed({"name": HOSTILE})) == {"name": HOSTILE}
    assert "<" not in embed({"name": HOSTILE})
    assert tag("p", HOSTILE, title='"><x>') == (
        '<p title="&quot;&gt;&lt;x&gt;">&lt;/script&gt;&lt;script&gt;window.hacked = 1&lt;/script&gt;&lt;!--</p>'
    )
    inputs, workspace = make_inputs(tmp_path / "eval", {HOSTILE: range(3), "b": range(0)})
    scripts = Addresses(make_report(inputs, workspace)).scripts
    assert scripts == ["application/json", *["text/plain"] * 6, None]


def test_samples_show_what_training_draws_and_leave_out_what_it_does_not(made: tuple[ReportInputs, Workspace]) -> None:
    inputs, workspace = made
    samples = make_samples(inputs, workspace.config.train, lambda *_: None)
    assert not isinstance(samples, str)
    assert [sample.video for sample in samples] == ["train-0", "train-1"]
    for sample in samples:
        record = next(record for record in inputs.videos("train") if record.id == sample.video)
        assert np.array_equal(sample.normal_HWC, inputs.read("frames", "frames", record)[sample.frame])
        assert np.array_equal(sample.flow_2HW, inputs.read("flows", "flow", record)[sample.frame - 1])
        assert sample.spatial_HWC is not None
        changed_HW = (sample.spatial_HWC != sample.normal_HWC).any(2)
        assert changed_HW[sample.mask_HW].mean() > 0.9
        assert not changed_HW[~sample.mask_HW].any()
        assert sample.temporal_2HW is not None
        assert (sample.temporal_2HW != sample.flow_2HW).any()
    settings = workspace.config.train.model_copy(update={"p_s": 0.0})
    plain = make_samples(inputs, settings, lambda *_: None)
    assert not isinstance(plain, str)
    assert all(sample.spatial_HWC is None for sample in plain)


def test_a_report_without_training_videos_says_why_there_is_no_sample(tmp_path: Path) -> None:
    inputs, workspace = make_inputs(tmp_path / "eval", {"a": range(3)}, training=0)
    assert "There is no training video here" in make_report(inputs, workspace)


def test_importing_the_command_loads_neither_networks_nor_drawing() -> None:
    code = "import sys, scoring.report.command; print([m for m in ('torch', 'matplotlib', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_without_an_evaluation_the_command_names_what_to_run(tmp_path: Path) -> None:
    for i in range(20):
        for split in ("train", "test"):
            path = tmp_path / "data" / split / "a" / f"{i:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", np.full((48, 64), i, np.uint8))[1].tobytes())
    program = "import sys; sys.path.insert(0, sys.argv.pop(1)); from stpa import main; main()"
    command = [sys.executable, "-c", program, str(ROOT), "report", "-o", "r.html"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4, done.stderr
    assert "stpa eval" in done.stderr
    assert not (tmp_path / "r.html").exists()


def colour_sets() -> Iterator[dict[str, str]]:
    """Yield the colours of the light scheme, then those of the dark one."""
    style = Path(scoring.report.page.__file__).with_name("page.css").read_text(encoding="utf-8")
    for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL):
        yield dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6})", block))


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_text_and_lines_stand_out_from_every_ground_in_both_colour_schemes() -> None:
    schemes = list(colour_sets())
    assert len(schemes) == 2
    for colours in schemes:
        for ground in ("paper", "raised"):
            for text in ("ink", "muted", "accent", "truth-edge"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for name, colour in colours.items():
            if name.startswith("line-") or name == "fused":
                assert contrast(colour, colours["paper"]) >= 4.5, name  # names of lines are written in their colour
                assert contrast(colour, colours["truth"]) >= 3, name
