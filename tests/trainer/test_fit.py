"""The training loop: the same seed gives the same weights, and the loss falls."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from squares import make_training, silent, small_settings

from pipeline.config import TrainSettings
from trainer.clips import load_training_data
from trainer.fit import Fit, TrainingDiverged, fit_network
from trainer.schedule import learning_rate, num_steps
from trainer.training import make_signals

CPU = torch.device("cpu")


def fit(settings: TrainSettings, name: Any = "temporal", videos: int = 1) -> Fit:
    data = load_training_data(make_training(videos), settings, CPU, silent)
    return fit_network(make_signals(data, settings)[name], data, settings, device=CPU, report=silent)


def same_weights(one: Fit, other: Fit) -> bool:
    others = other.network.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in one.network.state_dict().items())


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(precision: str) -> None:
    settings = small_settings(epochs=0.6, precision=precision)
    first = fit(settings)
    assert first.steps == round(0.6 * 25 / 4)
    assert same_weights(first, fit(settings))
    assert not same_weights(first, fit(small_settings(epochs=0.6, precision=precision, seed=1)))


def test_steps_do_not_depend_on_how_many_come_after() -> None:
    one, two = fit(small_settings(epochs=1, batch_size=5)), fit(small_settings(epochs=2, batch_size=5))
    assert two.losses[0] == one.losses[0]
    assert len(two.losses) == 2


@pytest.mark.parametrize("name", ["spatial", "temporal"])
def test_training_reduces_the_loss(name: str) -> None:
    losses = fit(small_settings(epochs=6, learning_rate=1e-3), name).losses
    assert len(losses) == 6
    assert losses[-1] < losses[0] / 2


def test_a_learning_rate_far_too_high_is_reported_with_the_remedy() -> None:
    with pytest.raises(TrainingDiverged, match=r"the temporal autoencoder's loss became nan by step 10 .*learning_rate"):
        fit(small_settings(epochs=4, learning_rate=1e30))


def test_a_clip_is_replaced_with_the_set_probability_and_the_target_stays_normal() -> None:
    for probability, expected in ((0.0, 0), (1.0, 200), (0.5, 100)):
        settings = small_settings(p_s=probability)
        data = load_training_data(make_training(1), settings, CPU, silent)
        signal = make_signals(data, settings)["spatial"]
        random = np.random.default_rng(0)
        replaced = 0
        for _ in range(50):
            start_B = random.choice(data.start_C, 4)
            batch = signal.batch(data, start_B, random)
            assert torch.equal(batch.target_BCTHW, signal.target(start_B))
            replaced += int((batch.shown_BCTHW != batch.target_BCTHW).flatten(1).any(1).sum())
        assert abs(replaced - expected) <= (20 if probability == 0.5 else 0)


def test_a_pseudo_anomaly_with_a_negative_sign_is_pushed_away_and_normal_clips_are_not() -> None:
    settings = small_settings(p_s=0.5)
    data = load_training_data(make_training(1), settings, CPU, silent)
    signal = replace(make_signals(data, settings)["spatial"], loss_sign=-1.0)
    batch = signal.batch(data, data.start_C[:8], np.random.default_rng(3))
    changed_B = (batch.shown_BCTHW != signal.target(data.start_C[:8])).flatten(1).any(1)
    assert 0 < changed_B.sum() < 8
    assert torch.equal(batch.target_BCTHW, batch.shown_BCTHW)
    error_B = torch.arange(1.0, 9.0)
    reconstruction_BCTHW = batch.target_BCTHW + error_B.sqrt()[:, None, None, None, None]
    expected = torch.where(changed_B, -error_B, error_B).mean()
    torch.testing.assert_close(batch.loss(reconstruction_BCTHW), expected, rtol=1e-5, atol=0)


PAGES = """
import resource, torch
from trainer.devices import keep_freed_memory
kept = keep_freed_memory() if {keep} else False
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(25_000_000)  # 100 MB, freed at once
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(kept, min(faults() for _ in range(16)))  # the first few may lie beside what is kept
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux")
def test_memory_that_a_step_leaves_is_there_for_the_next_one() -> None:
    found = {}
    for keep in (True, False):
        program, root = PAGES.format(keep=keep), Path(__file__).parents[2]
        done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
        kept, faults = done.stdout.split()
        found[kept] = int(faults)
    assert found["True"] < 100 < found["False"]


def test_progress_counts_clips_up_to_all_of_them() -> None:
    seen: list[tuple[str, float, float]] = []
    settings = small_settings(epochs=1.7)
    data = load_training_data(make_training(1), settings, CPU, silent)
    signal = make_signals(data, settings)["spatial"]
    fit_network(signal, data, settings, device=CPU, report=lambda *progress: seen.append(progress))
    assert {what.partition("\t")[0] for what, _, _ in seen} == {"spatial autoencoder"}
    assert re.search(r"\tepoch 1\.7 of 1\.7, loss 0\.\d{5}, [\d.]+ clips/s$", seen[-1][0])
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert seen[-1][1] == seen[-1][2]


def test_the_cosine_schedule_warms_up_and_ends_low_and_the_constant_one_does_neither() -> None:
    cosine = small_settings(schedule="cosine", learning_rate=1e-3)
    rates = [learning_rate(cosine, step, 1000) for step in range(1000)]
    assert rates[0] < 1e-4
    assert max(rates) == pytest.approx(1e-3, rel=0.01)
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[-1] == pytest.approx(2e-5)
    assert {learning_rate(small_settings(learning_rate=1e-3), step, 1000) for step in range(1000)} == {1e-3}


def test_epochs_may_be_a_fraction_and_are_never_no_step_at_all() -> None:
    assert num_steps(small_settings(epochs=0.5), 100) == 12
    assert num_steps(small_settings(epochs=1e-6), 100) == 1
    assert math.isfinite(fit(small_settings(epochs=1e-6)).losses[0])
