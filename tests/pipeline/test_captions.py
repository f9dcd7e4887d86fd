"""Captions say who does what where, the same words for the same span, in one sentence."""

import numpy as np
import pytest

from pipeline.config import SyntheticSettings
from pipeline.synthetic.captions import EMPTY, Sight, caption, sentence
from pipeline.synthetic.render import RenderedVideo, render_video
from pipeline.synthetic.settings import KINDS, kinds_of_test_videos

SETTINGS = SyntheticSettings(seed=3, train_videos=1, test_videos=8, frames=60, height=64, width=96)
WORDS = {
    "cyclist": "cyclist",
    "cart": "cart",
    "runner": "runs",
    "against": "against the stream",
    "bag": "bag",
    "lying": "lies on the ground",
}


@pytest.fixture(scope="module")
def videos() -> dict[str | None, RenderedVideo]:
    """Return one test video of each kind."""
    found = enumerate(kinds_of_test_videos(SETTINGS))
    return {kind: render_video(SETTINGS, "test", index) for index, kind in reversed(list(found))}


def walker(**changed: object) -> Sight:
    plain: dict[str, object] = {"noun": "person", "colour": "red", "action": "walks", "direction": 1, "near": True, "x": 0.5}
    return Sight(**{**plain, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_anomaly_is_told_while_it_happens(videos: dict[str | None, RenderedVideo], kind: str) -> None:
    video = videos[kind]
    middle = int(np.median(np.flatnonzero(video.labels_T)))
    assert WORDS[kind] in caption(video, middle, middle + 1)


def test_normal_video_tells_of_walkers_only() -> None:
    told = caption(render_video(SETTINGS, "train", 0), 0, 60)
    assert "person" in told
    assert not any(word in told for word in WORDS.values())


def test_the_same_span_is_told_in_the_same_words(videos: dict[str | None, RenderedVideo]) -> None:
    for video in videos.values():
        assert caption(video, 10, 26) == caption(video, 10, 26)
    again = render_video(SETTINGS, "test", kinds_of_test_videos(SETTINGS).index("cyclist"))
    assert caption(again, 0, 60) == caption(videos["cyclist"], 0, 60)


def test_different_videos_are_told_apart(videos: dict[str | None, RenderedVideo]) -> None:
    told = [caption(video, 0, 60) for video in videos.values()]
    assert len(set(told)) == len(told)


@pytest.mark.parametrize(("start", "stop"), [(5, 5), (-1, 4), (50, 61)])
def test_a_span_outside_the_video_is_refused(videos: dict[str | None, RenderedVideo], start: int, stop: int) -> None:
    with pytest.raises(ValueError, match=r"within 0\.\.60"):
        caption(videos["cart"], start, stop)


def test_the_unusual_comes_first_and_those_who_do_the_same_share_a_verb() -> None:
    sights = [
        walker(colour="blue", x=0.9),
        walker(x=0.1),
        walker(near=False, direction=-1, colour="green"),
        Sight(noun="cyclist", colour="orange", action="rides", direction=-1, near=False, x=1.0),
    ]
    assert sentence(sights) == (
        "a cyclist in orange rides to the left far from the camera, "
        "a person in red and a person in blue walk to the right near the camera, "
        "a person in green walks to the left far from the camera"
    )


def test_grey_pictures_are_told_without_colours_and_details_without_places() -> None:
    sights = [walker(), walker(colour="blue"), walker(colour="green", near=False)]
    assert sentence(sights, colours=False, places=False) == "three people walk to the right"
    assert sentence([walker(noun="bag", colour="orange", action="left", direction=0)], places=False) == (
        "an orange bag has been left on the ground"
    )


def test_nobody_leaves_an_empty_street() -> None:
    assert sentence([]) == EMPTY


def test_who_lies_goes_nowhere() -> None:
    assert "to the" not in sentence([walker(action="lies")])
