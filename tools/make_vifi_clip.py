"""Make, or measure, the small ViFi-CLIP that is shipped with the package.

Image and text towers learn together, from nothing, on captioned clips of synthetic streets: embeddings of a clip's frames
are averaged, then normalised, and compared with those of sentences (symmetric cross-entropy, learned temperature). Small
things are learnt from windows around actors, for which only the patches of the window are fed. A second loss, the
words of the sentence told from the embedding by one linear layer that is thrown away afterwards, keeps what a frame shows
linearly readable, which is what the discriminator needs.

    python -m tools.make_vifi_clip --out FOLDER --work FOLDER
    python -m tools.make_vifi_clip --evaluate FOLDER --work FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPModel, CLIPTokenizer

from tools.clip_batches import Batch, full_batch, window_batch
from tools.clip_model import GRID, embed_texts, embed_windows, make_model, make_tokenizer, phrase_book, save_model
from tools.clip_render import Clip, load_block, render_block

FIRST_SEED, HELD_OUT_SEED = 100_000, 900_000
"""Streets for training and for measuring; no user's dataset is likely to have either seed."""
BLOCK = 50
CLIPS_PER_SEED = 2
COURSE = ((0.55, {2: 0.75, 3: 0.25}), (0.8, {3: 0.3, 5: 0.5, 10: 0.2}), (1.0, {5: 0.4, 10: 0.6}))
"""Until which share of the steps, and how often windows of so many patches a side are shown then; GRID = whole frames.
Details first: what a cyclist looks like is learnt large and cheaply, where it is in the picture afterwards."""
ITEMS = {2: 192, 3: 96, 5: 48, 10: 16}
"""Windows, or clips of whole frames, in a batch: about as many patches in each."""
COMPARED = 48
"""Items of a batch that are compared with sentences; the others only have their words told."""
WORDS_WEIGHT = 20.0
WARMUP = 40
SAVED_EVERY = 200
"""Steps after which the weights so far are written, for those who cannot wait."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What determines the weights, besides the versions of the packages."""

    seed: int
    seeds: int
    steps: int
    width: int
    layers: int
    learning_rate: float


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="folder to write the model to")
    parser.add_argument("--work", type=Path, required=True, help="folder for rendered clips; they are made once")
    parser.add_argument("--evaluate", type=Path, help="measure the model in this folder instead")
    for name, value in (("seed", 0), ("seeds", 3000), ("steps", 1200), ("width", 128), ("layers", 6)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    given = vars(parser.parse_args())
    torch.set_num_threads(given["threads"])
    cv2.setNumThreads(given["threads"])
    work: Path = given["work"]
    if given["evaluate"] is not None:
        from tools.clip_evaluate import evaluate

        print(json.dumps(evaluate(given["evaluate"], held_out_clips(work)), indent=2))
        return
    if given["out"] is None:
        parser.error("--out or --evaluate is needed")
    recipe = Recipe(**{name: given[name] for name in Recipe.__dataclass_fields__})
    train(recipe, training_clips(work, recipe.seeds), given["out"])


def training_clips(work: Path, seeds: int) -> list[Clip]:
    """Return the clips of ``seeds`` streets, rendered into ``work`` where they are not there yet."""
    return _clips(work, range(FIRST_SEED, FIRST_SEED + seeds, BLOCK))


def held_out_clips(work: Path, seeds: int = 200) -> list[Clip]:
    """Return clips of streets that training never sees."""
    return _clips(work, range(HELD_OUT_SEED, HELD_OUT_SEED + seeds, BLOCK))


def _clips(work: Path, starts: range) -> list[Clip]:
    folder = work / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    for start in starts:
        render_block(range(start, start + BLOCK), CLIPS_PER_SEED, folder / f"{start}.npz")
    return [clip for start in starts for clip in load_block(folder / f"{start}.npz")]


def train(recipe: Recipe, clips: list[Clip], out: Path) -> None:
    """Train and write the model, and what was measured on the way to a ``.training.json`` beside the folder."""
    torch.manual_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, recipe.width, recipe.layers).train()
    words = _Words(tokenizer, model.config.projection_dim)
    optimisers = _optimisers(model, words, recipe.learning_rate)
    began = time.monotonic()
    log: list[tuple[int, float, float]] = []
    for step in range(recipe.steps):
        progress = step / recipe.steps
        rate = recipe.learning_rate * min(1, (step + 1) / WARMUP) * (0.02 + 0.49 * (1 + np.cos(np.pi * progress)))
        patches = _patches(rng, progress)
        contrast, reading = _losses(model, tokenizer, words, _batch(rng, clips, patches))
        for optimiser in optimisers:
            optimiser.zero_grad(set_to_none=True)
            for group in optimiser.param_groups:
                group["lr"] = rate
        torch.autograd.backward(contrast + WORDS_WEIGHT * reading)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, np.log(100))
        log.append((patches, float(contrast.detach()), float(reading.detach())))
        if step % 25 == 24 or step == recipe.steps - 1:
            _say(step, log[-100:], time.monotonic() - began, float(model.logit_scale.exp().detach()))
        if step % SAVED_EVERY == SAVED_EVERY - 1:
            save_model(model, tokenizer, out)
    save_model(model, tokenizer, out)
    _write_log(out, recipe, len(clips), log, time.monotonic() - began)


def _patches(rng: np.random.Generator, progress: float) -> int:
    shares = next(shares for until, shares in COURSE if progress < until)
    return int(rng.choice(list(shares), p=list(shares.values())))


def _batch(rng: np.random.Generator, clips: list[Clip], patches: int) -> Batch:
    if patches == GRID:
        return full_batch(rng, clips, ITEMS[patches])
    return window_batch(rng, clips, ITEMS[patches], patches)


class _Words(nn.Module):
    """Tells from an embedding which words its sentence holds; used in training only."""

    def __init__(self, tokenizer: CLIPTokenizer, length: int) -> None:
        super().__init__()
        known = sorted({i for text in phrase_book() for i in tokenizer(text).input_ids[1:-1]})
        self.place = {token: place for place, token in enumerate(known)}
        self.tokenizer = tokenizer
        self.layer = nn.Linear(length, len(known))

    def forward(self, embedding_BD: Tensor, texts: list[str]) -> Tensor:
        """Return the mean binary cross-entropy over words and sentences."""
        target_BW = torch.zeros(len(texts), len(self.place))
        for row, tokens in enumerate(self.tokenizer(texts, truncation=True).input_ids):
            target_BW[row, [self.place[token] for token in tokens[1:-1] if token in self.place]] = 1
        return F.binary_cross_entropy_with_logits(self.layer(embedding_BD), target_BW)


def _losses(model: CLIPModel, tokenizer: CLIPTokenizer, words: _Words, batch: Batch) -> tuple[Tensor, Tensor]:
    frames = batch.pixel_BFCHW.shape[1]
    corner = batch.corner_B2.repeat_interleave(frames, 0)
    frame_ND = embed_windows(model, batch.pixel_BFCHW.flatten(0, 1), corner)
    clip_BD = frame_ND.view(-1, frames, frame_ND.shape[1]).mean(1)
    # A sentence that fits several clips of the batch is embedded once, and is right for each of them.
    compared = batch.texts[:COMPARED]
    different = sorted(set(compared))
    same_BS = torch.tensor([[text == other for other in different] for text in compared]).float()
    text_SD = embed_texts(model, tokenizer, different)
    logit_BS = model.logit_scale.exp() * F.normalize(clip_BD[:COMPARED], dim=-1) @ F.normalize(text_SD, dim=-1).T
    to_text = F.cross_entropy(logit_BS, same_BS)
    to_clip = F.cross_entropy(logit_BS.T, same_BS.T / same_BS.sum(0)[:, None])
    return (to_text + to_clip) / 2, words(clip_BD, batch.texts)


def _optimisers(model: CLIPModel, words: _Words, rate: float) -> list[torch.optim.Optimizer]:
    """Return Muon for the matrices inside both towers, which learn faster so from few examples, and AdamW for the rest."""
    named = [*model.named_parameters(), *words.named_parameters()]
    inner = [p for name, p in named if p.ndim == 2 and ".layers." in name]
    outer = [p for name, p in named if not (p.ndim == 2 and ".layers." in name)]
    return [
        torch.optim.Muon(inner, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _means(log: list[tuple[int, float, float]]) -> dict[str, dict[str, float]]:
    """Return both losses by the side of what was shown, in patches."""
    sides = sorted({side for side, _, _ in log})
    return {
        f"{side} x {side} patches": {
            "contrastive": round(float(np.mean([c for s, c, _ in log if s == side])), 4),
            "words": round(float(np.mean([w for s, _, w in log if s == side])), 4),
        }
        for side in sides
    }


def _say(step: int, log: list[tuple[int, float, float]], seconds: float, scale: float) -> None:
    parts = [f"{side[:2]} {means['contrastive']:.3f} {means['words']:.4f}" for side, means in _means(log).items()]
    cpu = time.process_time()
    print(f"step {step + 1} {seconds:.0f} s (cpu {cpu:.0f} s)  {'  '.join(parts)}  scale {scale:.1f}", flush=True)


def _write_log(out: Path, recipe: Recipe, clips: int, log: list[tuple[int, float, float]], seconds: float) -> None:
    facts = {
        "recipe": recipe.__dict__,
        "clips": clips,
        "seconds": round(seconds),
        "cpu_seconds": round(time.process_time()),
        "torch": torch.__version__,
        "loss, first 100 steps": _means(log[:100]),
        "loss, last 200 steps": _means(log[-200:]),
    }
    (out.parent / f"{out.name}.training.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
