"""Clips read from the cache one by one are the same, byte for byte, as those of data in memory; and memory stays bounded."""

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import squares
import torch
from squares import MadeInputs, make_street, make_training, silent, small_settings

from pipeline.config import TrainSettings
from pipeline.contract import Array, VideoRecord
from trainer.batches import Batch, StepBatches, ahead, loaded
from trainer.clips import TrainingData, load_training_data
from trainer.fit import fit_network
from trainer.pseudo_anomalies import SPATIAL, TEMPORAL
from trainer.sequences import KEPT_RUNS, KINDS, READ_FRAMES, StoredPictures
from trainer.together import make_signals

CPU = torch.device("cpu")


def load(inputs: MadeInputs, **changes: Any) -> tuple[TrainingData, TrainSettings]:
    settings = small_settings(p_s=0.9, p_t=0.9, **changes)
    return load_training_data(inputs, settings, CPU, silent), settings


def batches(inputs: MadeInputs, network: Any = "spatial", **changes: Any) -> StepBatches:
    data, settings = load(inputs, **changes)
    return StepBatches(make_signals(data, settings)[network], data, settings)


def same(one: Batch, other: Batch) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("shown_BCTHW", "target_BCTHW", "sign_B")]
    return all(torch.equal(a, b) and a.dtype == b.dtype for a, b in pairs)


@pytest.mark.parametrize("changes", [{}, {"colour": "rgb"}, {"reduce": 2}, {"flow_sigma": 0.1}])
def test_everything_that_training_reads_is_the_same_in_memory_and_from_the_cache(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squares, "WIDTH", 64)
    (memory, _), (stream, _) = (load(make_training(2), data=where, **changes) for where in ("memory", "stream"))
    assert (memory.streamed, stream.streamed) == (False, True)
    for kind in KINDS:
        whole, stored = getattr(memory, kind), getattr(stream, kind)
        assert stored.shape == whole.shape
        assert torch.equal(stored[:], whole[:])
    for name in ("object_N", "centre_N2", "origin_N", "start_C"):
        np.testing.assert_array_equal(getattr(stream, name), getattr(memory, name))
    assert stream.flow_scale == memory.flow_scale


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "index",
    [7, -1, slice(33, 49), slice(None, None, 9), np.array([70, 3, 3, 41]), torch.tensor([[0, 1], [39, 40]]),
     np.arange(80) % 7 == 0, (slice(30, 50), slice(2, 9)), (5, slice(2, 9), 3), np.zeros(0, np.int64)],
    ids=str,
)  # fmt: skip
def test_stored_pictures_are_indexed_as_tensors_are(kind: Any, index: Any) -> None:
    (memory, _), (stream, _) = (load(make_training(2), data=where) for where in ("memory", "stream"))
    expected = getattr(memory, kind)[index if not isinstance(index, np.ndarray) else torch.from_numpy(index)]
    found = getattr(stream, kind)[index]
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("network", "kind"), [*(("spatial", kind) for kind in SPATIAL), *(("temporal", kind) for kind in TEMPORAL)]
)
def test_batches_of_every_pseudo_anomaly_are_the_same_in_memory_and_from_the_cache(network: str, kind: str) -> None:
    inputs = MadeInputs([make_street(f"v{seed}", frames=90, seed=seed) for seed in range(2)])
    from_memory, from_cache = (
        batches(inputs, network, data=where, **{f"{network}_pa": kind}) for where in ("memory", "stream")
    )
    changed = 0
    for step in range(4):
        assert same(from_memory[step], from_cache[step])
        changed += int((from_memory[step].shown_BCTHW != from_memory.signal.target(np.zeros(1, np.int64))).any())
    assert changed


@pytest.mark.parametrize(
    ("network", "kind"), [*(("spatial", kind) for kind in SPATIAL), *(("temporal", kind) for kind in TEMPORAL)]
)
def test_batches_do_not_depend_on_the_number_of_threads(
    network: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in {"HEIGHT": 64, "WIDTH": 160, "SIDE": 40}.items():  # masks with more pixels than a thread is given
        monkeypatch.setattr(squares, name, size)
    made = batches(make_training(2), network, **{f"{network}_pa": kind})
    before = torch.get_num_threads()
    try:
        for step in range(2):
            found = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                found.append(made[step])
            assert same(*found)
    finally:
        torch.set_num_threads(before)


def test_spawned_loaders_hand_over_the_same_batches_in_the_same_order() -> None:
    settings = small_settings(data="stream", loaders=2)
    from_memory = batches(make_training(2), data="memory", spatial_pa="objects")
    from_cache = batches(make_training(2), data="stream", spatial_pa="objects")
    with loaded(from_cache, range(3, 9), settings) as stream:
        found = list(stream)
    assert len(found) == 6
    for step, batch in zip(range(3, 9), found, strict=True):
        assert same(batch, from_memory[step])


def test_a_loader_that_fails_ends_the_training_with_its_reason() -> None:
    broken = make_street("broken", frames=60)
    inputs = MadeInputs([broken])
    failing = batches(inputs, data="stream")
    del broken.arrays["frames", "frames"]
    with pytest.raises(KeyError, match="frames"), loaded(failing, range(4), small_settings(loaders=1)) as stream:
        list(stream)


def test_a_thread_that_makes_batches_ahead_makes_the_same_ones_and_passes_its_errors_on() -> None:
    made = batches(make_training(2))
    with ahead(made, range(2, 7), CPU) as stream:
        for step, batch in zip(range(2, 7), stream, strict=True):
            assert same(batch, made[step])
    failing = StepBatches(replace(made.signal, normalise=None), made.data, small_settings())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not callable"), ahead(failing, range(3), CPU) as stream:
        next(stream)


def test_a_thread_that_makes_batches_ahead_ends_with_the_block_even_if_nobody_takes_them() -> None:
    with ahead(batches(make_training(1)), range(1000), CPU) as stream:
        next(stream)


def test_training_on_the_stream_gives_the_same_weights() -> None:
    states = []
    for where in ("memory", "stream"):
        data, settings = load(make_training(1), data=where, epochs=0.4, loaders=1)
        signal = make_signals(data, settings)["temporal"]
        states.append(fit_network(signal, data, settings, device=CPU, report=silent).network.state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())


class Counting(MadeInputs):
    """Remembers the longest range that was read of pictures."""

    longest = 0

    def read(self, stage: str, name: str, record: VideoRecord, start: int = 0, stop: int | None = None) -> Array:
        found = super().read(stage, name, record, start, stop)
        if found.ndim > 1:
            self.longest = max(self.longest, len(found))
        return found


def test_a_stream_never_holds_more_than_a_few_clips_however_long_the_video_is() -> None:
    inputs = Counting([make_street("long", frames=READ_FRAMES + 300)])
    stream = batches(inputs, data="stream", spatial_pa="objects", flow_scale=2.0)
    assert inputs.longest == READ_FRAMES  # masks, read once in pieces to find objects
    inputs.longest = 0
    for step in range(12):
        stream[step]
    batch = 4 * 16  # clips that overlap are read together
    assert inputs.longest <= batch
    pictures = stream.data.frames_NHWC
    assert isinstance(pictures, StoredPictures)
    held = sum(len(rows) for rows in pictures._kept.values())
    assert 0 < held <= KEPT_RUNS * batch
    assert not pickle.loads(pickle.dumps(pictures))._kept


def test_auto_holds_what_fits_the_limit_and_streams_the_rest() -> None:
    needed = 40 * squares.HEIGHT * squares.WIDTH * 7
    for gib, streamed in ((needed / 2**30, False), ((needed - 1) / 2**30, True)):
        assert load(make_training(1), data_gib=gib)[0].streamed == streamed
