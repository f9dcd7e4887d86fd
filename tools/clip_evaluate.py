"""What the small ViFi-CLIP can do on streets it never saw: retrieval, kinds by name, unusual things by a linear probe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import CLIPModel, CLIPTokenizer

from pipeline.config import FeaturesSettings
from pipeline.datasets.reader import resize_frames
from pipeline.models.encoders import Encoder, open_encoder
from pipeline.synthetic.captions import Sight, sentence
from pipeline.synthetic.person import CLOTHES
from pipeline.synthetic.settings import KINDS
from tools.clip_batches import View, merged
from tools.clip_model import embed_texts
from tools.clip_render import FRAMES, HEIGHT, WIDTH, Clip, picture, render_clip

FRAME_SIZE = (128, 160)
"""Size of the stored frames of configs/demo.toml, from which the encoder has to see what is there."""
NAMED = ("cyclist", "cart", "runner", "lying", "bag", "walker")
PROBE_SEEDS = range(910_000, 910_010)
PROBE_CLIPS = 120
_FORM = {"cyclist": "cyclist", "cart": "cart", "bag": "bag"}
_ACTION = {"cyclist": "rides", "cart": "drives", "runner": "runs", "lying": "lies", "bag": "left", "walker": "walks"}


def evaluate(folder: Path, clips: Sequence[Clip]) -> dict[str, Any]:
    """Return what was measured of the model in ``folder`` on held-out clips; chance is given beside each figure."""
    encode = open_encoder(FeaturesSettings(model=str(folder)))
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32)
    model.train(False)
    tokenizer = CLIPTokenizer.from_pretrained(folder)

    def embed(texts: Sequence[str]) -> NDArray[np.float64]:
        with torch.inference_mode():
            return _unit(embed_texts(model, tokenizer, list(texts)).numpy())

    return {
        "retrieval": _retrieval(encode, embed, clips),
        "kind by name, whole frames": _kinds(encode, embed, clips, around=False),
        "kind by name, cut out": _kinds(encode, embed, clips, around=True),
        "linear probe": _probe(encode),
    }


def _retrieval(encode: Encoder, embed: Callable[[Sequence[str]], NDArray[Any]], clips: Sequence[Clip]) -> dict[str, Any]:
    clip_ND = _unit(np.stack([encode(_frames(clip)).mean(0) for clip in clips]))
    texts = [sentence(merged(clip.seen)) for clip in clips]
    similarity_NN = clip_ND @ embed(texts).T
    # Clips with the very same sentence are right answers for each other.
    same_NN = np.array([[one == other for other in texts] for one in texts])
    chance = float(same_NN.mean())
    return {
        "clips": len(clips),
        "different sentences": len(set(texts)),
        "clip to text": {f"R@{k}": _recall(similarity_NN, same_NN, k) for k in (1, 5)},
        "text to clip": {f"R@{k}": _recall(similarity_NN.T, same_NN.T, k) for k in (1, 5)},
        "chance": {f"R@{k}": round(k * chance, 4) for k in (1, 5)},
    }


def _recall(similarity_NN: NDArray[Any], same_NN: NDArray[np.bool_], k: int) -> float:
    best_NK = np.argsort(-similarity_NN, axis=1, kind="stable")[:, :k]
    return round(float(np.take_along_axis(same_NN, best_NK, 1).any(1).mean()), 4)


def _kinds(
    encode: Encoder, embed: Callable[[Sequence[str]], NDArray[Any]], clips: Sequence[Clip], *, around: bool
) -> dict[str, Any]:
    """Choose among NAMED by sentences alone: of whole frames, or of the surroundings of the actor in question."""
    name_KD = _unit(np.stack([embed(_descriptions(kind, around=around)).mean(0) for kind in NAMED]))
    truth, images = [], []
    for clip in clips:
        kind = "walker" if clip.kind is None else clip.kind
        shown = _surroundings(clip) if around else _frames(clip)
        if kind in NAMED and shown is not None and (clip.kind is None or _shows(clip)):
            truth.append(NAMED.index(kind))
            images.append(encode(shown).mean(0))
    truth_N, found_N = np.array(truth), (_unit(np.stack(images)) @ name_KD.T).argmax(1)
    each = {name: round(float((found_N[truth_N == i] == i).mean()), 3) for i, name in enumerate(NAMED)}
    return {"clips": len(truth), "mean over kinds": round(float(np.mean(list(each.values()))), 3), "chance": 0.167, **each}


def _shows(clip: Clip) -> bool:
    return all(any(one.sight.unusual for one in frame) for frame in clip.seen)


def _descriptions(kind: str, *, around: bool) -> list[str]:
    """Return sentences about this kind of actor, alone or with walkers around, in all colours and directions."""
    rng = np.random.default_rng(0)
    texts = []
    for colour in CLOTHES:
        for direction in (-1, 1):
            for near in (False, True):
                one = Sight(
                    noun=_FORM.get(kind, "person"), colour=colour, action=_ACTION[kind],
                    direction=0 if kind == "bag" else direction, near=near, x=0.5,
                )  # fmt: skip
                others = [] if around else [_walker(rng) for _ in range(int(rng.integers(1, 5)))]
                texts.append(sentence([one, *others], places=not around))
    return texts


def _walker(rng: np.random.Generator) -> Sight:
    near = bool(rng.integers(2))
    return Sight(
        noun="person", colour=str(rng.choice(list(CLOTHES))), action="walks", direction=1 if near else -1, near=near, x=1.0
    )


def _surroundings(clip: Clip) -> NDArray[np.uint8] | None:
    """Return the middle frame, cut to a square around the unusual actor, or around any where none is."""
    seen = clip.seen[FRAMES // 2]
    chosen = [one for one in seen if one.sight.unusual] or list(seen)
    if not chosen:
        return None
    x1, y1, x2, y2 = chosen[0].box
    side = 1.6 * max(x2 - x1, y2 - y1) + 16
    view = View(
        left=(x1 + x2 - side) / 2,
        top=(y1 + y2 - side) / 2,
        width=side,
        height=side,
        rows=FRAME_SIZE[0],
        columns=FRAME_SIZE[0],
    )
    return np.asarray(view.cut(picture(clip, FRAMES // 2)).round(), np.uint8)[None]


def _probe(encode: Encoder) -> dict[str, Any]:
    """Tell frames with from frames without an unusual actor, in the same street, learnt on half of its clips."""
    kinds = [kind for kind in KINDS if kind != "against"]
    scores: dict[str, list[float]] = {kind: [] for kind in (*kinds, "any of them")}
    shares = []
    for seed in PROBE_SEEDS:
        clips = [render_clip(seed, number) for number in range(PROBE_CLIPS)]
        clips = [clip for clip in clips if clip.kind is None or (clip.kind in kinds and _shows(clip))]
        clips = [replace(clip, jpegs=clip.jpegs) for clip in clips]
        feature_NFD = np.stack([encode(_frames(clip)) for clip in clips])
        unusual_N = np.array([clip.kind is not None for clip in clips])
        kind_N = np.array([str(clip.kind) for clip in clips])
        shares += [one.pixels / (HEIGHT * WIDTH) for clip in clips for f in clip.seen for one in f if one.sight.unusual]
        half_N = np.arange(len(clips)) % 2 == 0
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=2000))
        probe.fit(feature_NFD[half_N].reshape(-1, feature_NFD.shape[-1]), unusual_N[half_N].repeat(FRAMES))
        score_N = np.array([probe.decision_function(frames_FD).mean() for frames_FD in feature_NFD])
        normal = score_N[~half_N & ~unusual_N]
        for name in scores:
            chosen = score_N[~half_N & (unusual_N if name == "any of them" else kind_N == name)]
            if len(chosen) and len(normal):
                truth = np.r_[np.zeros(len(normal)), np.ones(len(chosen))]
                scores[name].append(float(roc_auc_score(truth, np.r_[normal, chosen])))
    mean = {name: round(float(np.mean(values)), 3) for name, values in scores.items()}
    share = round(float(np.median(shares)), 4)
    return {"streets": len(PROBE_SEEDS), "median share of the frame": share, "AUC": mean, "chance": 0.5}


def _frames(clip: Clip) -> NDArray[np.uint8]:
    return resize_frames(np.stack([picture(clip, frame) for frame in range(FRAMES)]), *FRAME_SIZE)


def _unit(array_ND: NDArray[Any]) -> NDArray[np.float64]:
    array = np.asarray(array_ND, np.float64)
    return np.asarray(array / np.linalg.norm(array, axis=1, keepdims=True))
