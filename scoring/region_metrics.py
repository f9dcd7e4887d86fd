"""Region- and track-based detection criteria (RBDC, TBDC): is the right place found, and how often a wrong one.

After Ramachandra and Jones, *Street Scene* (WACV 2020), as the program computes them that published numbers come from
(compute_tbdc_rbdc.py of Georgescu et al., *A Background-Agnostic Framework*, TPAMI 2021): inclusive boxes, one threshold per
detection, the area under the found share against false detections per frame, up to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scoring.bootstrap import bootstrap
from scoring.region_boxes import Detections, Tracks, check_detections, check_frames, no_tracks, overlap

__all__ = ["ALPHA", "BETA", "Curve", "Detections", "Ties", "Tracks", "match", "no_tracks", "overlap", "region_metrics"]

Ties = Literal["keep", "collapse"]
"""keep: each detection is a threshold of its own, as in the reference program, so that the order of equal scores matters;
collapse: equal scores pass together, so that it does not."""
ALPHA = 0.1  # share of the regions of a track that must be found
BETA = 0.1  # intersection over union from which a detection finds a region
MOST_FALSE = 1.0  # false detections per frame up to which the area counts
PAIRS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Found shares and false detections per frame at falling thresholds; of the detections of all videos, in order."""

    video_D: NDArray[np.int64]
    last_of_tie_D: NDArray[np.bool_]
    """The detection after which a threshold may lie."""
    tied_D: NDArray[np.bool_]
    """It shares its score with another one."""
    false_D: NDArray[np.bool_]
    found_region_G: NDArray[np.int64]
    """After how many detections a region is found; the number of detections + 1 where it never is."""
    video_G: NDArray[np.int64]
    found_track_K: NDArray[np.int64]
    video_K: NDArray[np.int64]

    def areas(self, num_frames: float, weight_V: NDArray[np.float64] | None = None) -> tuple[float | None, float | None]:
        """Return RBDC and TBDC, 0..1; None where there is no true region.

        ``weight_V`` counts each video that often, of which ``num_frames`` is then the weighted number of frames too.
        """
        false_D = np.cumsum(_weighted(self.false_D, self.video_D, weight_V)) / num_frames
        reach = int(np.searchsorted(false_D, MOST_FALSE, "right"))  # detections that lie within the area
        end_K = np.flatnonzero(self.last_of_tie_D[:reach])
        x = np.concatenate([[0.0], false_D[end_K], [MOST_FALSE]])
        shares = (
            _found_share(self.found_region_G, self.video_G, weight_V, reach),
            _found_share(self.found_track_K, self.video_K, weight_V, reach),
        )
        region, track = (None if share_D is None else _area(x, share_D[end_K]) for share_D in shares)
        return region, track


def _weighted(
    value_N: NDArray[Any], video_N: NDArray[np.int64], weight_V: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    return value_N.astype(np.float64) if weight_V is None else value_N * weight_V[video_N]


def _found_share(
    found_N: NDArray[np.int64], video_N: NDArray[np.int64], weight_V: NDArray[np.float64] | None, reach: int
) -> NDArray[np.float64] | None:
    """Return the share that is found after each of the first ``reach`` detections; None if nothing can be found."""
    weight_N = _weighted(np.ones(len(found_N)), video_N, weight_V)
    total = weight_N.sum()
    if not total:
        return None
    count = np.bincount(np.minimum(found_N, reach + 1), weight_N, reach + 2)
    return np.asarray(np.cumsum(count[1:-1]) / total)


def _area(x: NDArray[np.float64], share_K: NDArray[np.float64]) -> float:
    """Return the area by trapezoids from (0, 0), held flat from the last point up to one false detection per frame."""
    y = np.concatenate([[0.0], share_K, share_K[-1:] if len(share_K) else [0.0]])
    return float(np.diff(x) @ (y[1:] + y[:-1])) / 2


def match(tracks: Mapping[str, Tracks], detections: Mapping[str, Detections], *, ties: Ties = "keep") -> Curve:
    """Find out which detections hit which true regions, and put them in the order of their scores.

    Equal scores keep the order in which ``detections`` lists the videos and, within a video, that of its detections.

    Raises
    ------
    DataError
        A video has detections and no entry in ``tracks`` (a normal one has an empty entry), or a score is not finite.
    """
    check_detections(tracks, detections)
    score_D = np.concatenate([np.zeros(0), *(part.score_D for part in detections.values())])
    order_D = np.argsort(-score_D, kind="stable")
    position_D = np.empty(len(order_D), np.int64)  # 1 = the first
    position_D[order_D] = np.arange(1, len(order_D) + 1)
    false_D = np.ones(len(score_D), np.bool_)
    found_region = {video: np.full(len(truth.frame_R), len(score_D) + 1, np.int64) for video, truth in tracks.items()}
    first = 0
    for video, part in detections.items():
        own = slice(first, first + len(part.score_D))
        first = own.stop
        pair_detection_P, pair_region_P = _hits(tracks[video], part)
        false_D[own][pair_detection_P] = False
        np.minimum.at(found_region[video], pair_region_P, position_D[own][pair_detection_P])
    found_track = [_found_tracks(truth.track_R, found_region[video]) for video, truth in tracks.items()]
    place = {video: number for number, video in enumerate(tracks)}
    length = [len(part.score_D) for part in detections.values()]
    like_next_D = np.append(np.diff(score_D[order_D]) == 0, False)[: len(score_D)]
    return Curve(
        video_D=np.repeat(np.array([place[video] for video in detections], np.int64), length)[order_D],
        last_of_tie_D=~like_next_D if ties == "collapse" else np.ones(len(score_D), np.bool_),
        tied_D=like_next_D | np.append(False, like_next_D)[: len(score_D)],
        false_D=false_D[order_D],
        found_region_G=_joined(list(found_region.values())),
        video_G=_places(list(found_region.values())),
        found_track_K=_joined(found_track),
        video_K=_places(found_track),
    )


def _hits(truth: Tracks, part: Detections) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of detections and of true regions that overlap by BETA or more in the same frame, (P,) each."""
    order_R = np.argsort(truth.frame_R, kind="stable")
    frame_R = truth.frame_R[order_R]
    begin_D = np.searchsorted(frame_R, part.frame_D, "left")
    count_D = np.searchsorted(frame_R, part.frame_D, "right") - begin_D
    detections, regions = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for piece_D in _pieces(count_D):
        detection_P = np.repeat(piece_D, count_D[piece_D])
        step_P = np.arange(len(detection_P)) - np.repeat(np.cumsum(count_D[piece_D]) - count_D[piece_D], count_D[piece_D])
        region_P = order_R[begin_D[detection_P] + step_P]
        hit_P = overlap(part.box_D4[detection_P], truth.box_R4[region_P]) >= BETA
        detections.append(detection_P[hit_P])
        regions.append(region_P[hit_P])
    return np.concatenate(detections), np.concatenate(regions)


def _pieces(count_D: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return runs of detections that make about PAIRS_AT_ONCE pairs each, so that a crowded video needs little memory."""
    piece_D = np.cumsum(count_D) // PAIRS_AT_ONCE
    return np.split(np.arange(len(count_D)), np.flatnonzero(np.diff(piece_D)) + 1) if len(count_D) else []


def _found_tracks(track_R: NDArray[np.int64], found_R: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return after how many detections ALPHA of the regions of each track are found, (K,)."""
    order_R = np.lexsort((found_R, track_R))
    _, begin_K, length_K = np.unique(track_R[order_R], return_index=True, return_counts=True)
    enough_K = np.floor(ALPHA * length_K).astype(np.int64)
    enough_K += enough_K / length_K < ALPHA  # 3 of 30 are 0.1, as the reference counts; ceil(0.1 * 30) is 4
    return np.asarray(found_R[order_R][begin_K + np.maximum(enough_K, 1) - 1])


def _joined(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _places(parts: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return which part each element of the joined parts comes from."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts])


def region_metrics(
    tracks: Mapping[str, Tracks],
    detections: Mapping[str, Detections],
    num_frames: int | Mapping[str, int],
    *,
    ties: Ties = "keep",
    samples: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Return RBDC, TBDC and what was counted, as plain JSON values; None where there is no true region.

    ``num_frames`` is that of all test videos together, or of each: confidence intervals need that, from ``samples`` draws of
    videos (see :mod:`scoring.bootstrap`).

    Raises
    ------
    DataError
        As :func:`match`; or a frame lies outside its video.
    """
    total = num_frames if isinstance(num_frames, int) else sum(num_frames[video] for video in tracks)
    check_frames(tracks, detections, num_frames)
    curve = match(tracks, detections, ties=ties)
    rbdc, tbdc = curve.areas(total)
    result: dict[str, Any] = {
        "rbdc": rbdc,
        "tbdc": tbdc,
        "ties": ties,
        "alpha": ALPHA,
        "beta": BETA,
        "videos": len(tracks),
        "frames": total,
        "tracks": len(curve.found_track_K),
        "regions": len(curve.found_region_G),
        "detections": len(curve.false_D),
        "false_detections": int(curve.false_D.sum()),
        "tied_detections": int(curve.tied_D.sum()),
    }
    if samples and not isinstance(num_frames, int):
        frames_V = np.array([num_frames[video] for video in tracks], np.float64)
        result["intervals"] = bootstrap(
            lambda weight_1V: _areas_of_sample(curve, frames_V, weight_1V[0]), len(tracks), samples=samples, seed=seed
        )
    return result


def _areas_of_sample(
    curve: Curve, frames_V: NDArray[np.float64], weight_V: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    areas = curve.areas(float(weight_V @ frames_V), weight_V)
    return {name: np.array([np.nan if area is None else area]) for name, area in zip(("rbdc", "tbdc"), areas, strict=True)}
