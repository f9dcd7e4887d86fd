"""The autoencoder is the published one, and knows its place only where it is told."""

import pytest
import torch

from trainer.autoencoder import Autoencoder, make_autoencoder, with_place

CPU = torch.device("cpu")


def test_without_place_it_has_as_many_parameters_as_the_published_one() -> None:
    network = Autoencoder(channels=1, width=1.0, place=False, skips=())
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_980_801


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("place", [True, False])
@pytest.mark.parametrize("skips", [(), (3,), (2, 3)])
def test_the_output_has_the_shape_of_the_input_and_lies_within_tanh(
    channels: int, place: bool, skips: tuple[int, ...]
) -> None:
    network = make_autoencoder(channels=channels, width=0.1, place=place, skips=skips, seed=0, device=CPU)
    clip = torch.randn(2, channels, 16, 32, 48)
    reconstruction = network(clip)
    assert reconstruction.shape == clip.shape
    assert reconstruction.abs().max() <= 1


def test_place_channels_run_from_minus_one_to_one_and_leave_the_clip_as_it_is() -> None:
    clip = torch.randn(2, 2, 16, 32, 48)
    shown = with_place(clip)
    assert shown.shape == (2, 4, 16, 32, 48)
    torch.testing.assert_close(shown[:, :2], clip, rtol=0, atol=0)
    x, y = shown[:, 2], shown[:, 3]
    assert (x[..., 0] == -1).all()
    assert (x[..., -1] == 1).all()
    assert (y[..., 0, :] == -1).all()
    assert (y[..., -1, :] == 1).all()
    assert (x.diff(dim=-1) > 0).all()
    assert (y.diff(dim=-2) > 0).all()


@pytest.mark.parametrize("place", [True, False])
def test_the_same_picture_at_two_places_differs_only_where_the_network_is_told_the_place(place: bool) -> None:
    network = make_autoencoder(channels=1, width=0.1, place=place, seed=3, device=CPU).eval()
    with torch.inference_mode():
        reconstruction = network(torch.full((1, 1, 16, 32, 256), 0.3))
    here, there = reconstruction[..., 112], reconstruction[..., 144]  # both out of reach of the padding
    assert torch.allclose(here, there, atol=1e-5) is not place


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("index_K", "skips"), [((8, 15), ()), ((0, 7), (3,)), ((3,), (2, 3))])
def test_single_frames_are_those_of_the_whole_reconstruction(
    channels: int, index_K: tuple[int, ...], skips: tuple[int, ...]
) -> None:
    network = make_autoencoder(channels=channels, width=0.1, place=True, skips=skips, seed=0, device=CPU)
    clip = torch.randn(3, channels, 16, 32, 48)
    network(clip)  # moves the running statistics off their start
    network.eval()
    with torch.inference_mode():
        frames, whole = network.frames(clip, index_K), network(clip)
    assert whole[:, :, list(index_K)].std() > 0.01
    torch.testing.assert_close(frames, whole[:, :, list(index_K)], rtol=0, atol=1e-6)


def test_a_skip_adds_no_parameter_and_lets_detail_of_its_level_through() -> None:
    plain, skipping = (Autoencoder(channels=1, width=0.1, skips=skips) for skips in ((), (2,)))
    skipping.load_state_dict(plain.state_dict())
    for network in (plain, skipping):
        network.eval()
        network.state_dict()["decoder.3.weight"].zero_()  # nothing passes through the bottleneck any more
    one, other = torch.randn(2, 1, 16, 32, 48).unsqueeze(1)
    with torch.inference_mode():
        assert torch.equal(plain(one), plain(other))
        assert not torch.allclose(skipping(one), skipping(other))


def test_single_frames_are_refused_during_training() -> None:
    network = make_autoencoder(channels=1, width=0.1, seed=0, device=CPU)
    with pytest.raises(RuntimeError, match=r"call eval\(\) first"):
        network.frames(torch.zeros(1, 1, 16, 32, 32), (8,))


def test_the_seed_decides_the_weights_and_leaves_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (make_autoencoder(channels=1, width=0.1, seed=seed, device=CPU) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(first.state_dict()["encoder.0.weight"], again.state_dict()["encoder.0.weight"])
    assert not torch.equal(first.state_dict()["encoder.0.weight"], other.state_dict()["encoder.0.weight"])
