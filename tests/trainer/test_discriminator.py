"""The discriminator tells classes apart that differ, and does not pretend where they do not."""

import numpy as np
import pytest
import torch

from pipeline.contract import DataError
from trainer.discriminator import DiscriminatorData, fit_discriminator


def features(apart: float, *, videos: int = 4, rows: int = 40, pseudo_rows: int = 15) -> DiscriminatorData:
    random = np.random.default_rng(0)
    normal_ND = random.normal(0, 3, (videos * rows, 5)).astype(np.float32) + 10
    pseudo_ND = random.normal(0, 3, (videos * pseudo_rows, 5)).astype(np.float32) + 10 + apart
    return DiscriminatorData(
        normal_ND=torch.from_numpy(normal_ND),
        normal_group_N=np.repeat(np.arange(videos), rows),
        pseudo_ND=torch.from_numpy(pseudo_ND),
        pseudo_group_N=np.repeat(np.arange(videos), pseudo_rows),
    )


@pytest.mark.parametrize("videos", [1, 4])
def test_it_tells_apart_videos_that_it_has_not_seen(videos: int) -> None:
    data = features(6.0, videos=videos, rows=160 // videos, pseudo_rows=60 // videos)
    fit = fit_discriminator(data, epochs=60, seed=0)
    assert fit.held_out_accuracy > 0.9
    assert fit.losses[-1] < fit.losses[0] / 2
    assert fit.held_out_pseudo_P.mean() > 0 > fit.held_out_normal_N.mean()


def test_classes_that_do_not_differ_are_not_told_apart_on_videos_it_has_not_seen() -> None:
    fit = fit_discriminator(features(0.0), epochs=60, seed=0)
    assert 0.35 < fit.held_out_accuracy < 0.65


def test_the_same_seed_gives_the_same_network() -> None:
    logits = [fit_discriminator(features(1.0), epochs=3, seed=seed).held_out_normal_N for seed in (0, 0, 1)]
    np.testing.assert_array_equal(logits[0], logits[1])
    assert not np.array_equal(logits[0], logits[2])


def test_masks_in_one_video_only_are_enough() -> None:
    data = features(6.0)
    one = data.pseudo_group_N == 2
    fit = fit_discriminator(
        DiscriminatorData(
            normal_ND=data.normal_ND,
            normal_group_N=data.normal_group_N,
            pseudo_ND=data.pseudo_ND[torch.from_numpy(one)],
            pseudo_group_N=data.pseudo_group_N[one],
        ),
        epochs=60,
        seed=0,
    )
    assert fit.held_out_accuracy > 0.8


def test_no_mask_at_all_is_an_error_that_says_what_to_do() -> None:
    data = features(1.0, pseudo_rows=0)
    with pytest.raises(DataError, match=r"no training frame has a mask.*masks\.source = random"):
        fit_discriminator(data, epochs=1, seed=0)
