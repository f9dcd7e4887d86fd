"""Transposed convolutions on the CPU are torch's own, forwards and backwards; only roundings differ."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.autoencoder import make_autoencoder
from trainer.convolutions import TransposedConvolution, transposed_convolution
from trainer.devices import autocast

CPU = torch.device("cpu")
LAYERS = [(8, 16, 2), (16, 8, 2), (16, 1, 1), (16, 2, 1), (16, 3, 1), (16, 8, 1)]


def _layer(inputs: int, outputs: int, stride: int) -> tuple[TransposedConvolution, Tensor, Tensor]:
    """Return a layer, what it receives and a gradient of its output, memory in the order that training uses."""
    torch.manual_seed(0)
    layer = TransposedConvolution(inputs, outputs, stride=stride)
    received = torch.randn(2, inputs, 4, 6, 10).contiguous(memory_format=torch.channels_last_3d)
    gradient = torch.randn(2, outputs, stride * 4, 12, 20).contiguous(memory_format=torch.channels_last_3d)
    return layer, received, gradient


def _plain(layer: TransposedConvolution, received: Tensor) -> Tensor:
    stride = layer.stride[0]
    more = (stride - 1, 1, 1)
    return F.conv_transpose3d(received, layer.weight, layer.bias, (stride, 2, 2), padding=1, output_padding=more)


def _gradients(output: Tensor, gradient: Tensor, *of: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(output, of, gradient.to(output.dtype))


@pytest.mark.parametrize(("inputs", "outputs", "stride"), LAYERS)
def test_in_fp32_output_and_gradients_are_those_of_torch_within_1e_4(inputs: int, outputs: int, stride: int) -> None:
    layer, received, gradient = _layer(inputs, outputs, stride)
    received.requires_grad_()
    output, expected = layer(received), _plain(layer, received)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    assert layer.bias is not None
    of = (received, layer.weight, layer.bias)
    # a weight's gradient is a sum of thousands of products
    for found, wanted in zip(_gradients(output, gradient, *of), _gradients(expected, gradient, *of), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), LAYERS)
def test_under_autocast_they_are_as_near_to_fp32_as_those_of_torch(inputs: int, outputs: int, stride: int) -> None:
    layer, received, gradient = _layer(inputs, outputs, stride)
    received.requires_grad_()
    assert layer.bias is not None
    of = (received, layer.weight, layer.bias)
    exact = _plain(layer, received)
    wanted = (exact, *_gradients(exact, gradient, *of))
    with autocast("bf16", CPU):
        own, plain = layer(received), _plain(layer, received)
    assert plain.dtype == torch.bfloat16
    found = (own, *_gradients(own, gradient, *of))
    usual = (plain, *_gradients(plain, gradient, *of))
    for one, other, right in zip(found, usual, wanted, strict=True):
        # 0.4 % is half of the distance between two numbers of bfloat16; 1.5: roundings fall as they fall
        assert _distance(one, right) < 0.006
        assert _distance(one, right) < 1.5 * _distance(other, right)


def _distance(one: Tensor, other: Tensor) -> float:
    """Return the length of the difference relative to the length of what is right."""
    return float((one.detach().float() - other.detach()).norm() / other.detach().norm())


@pytest.mark.parametrize("frames_padding", [1, 2])
def test_fewer_frames_of_the_output_are_made_where_padding_says_so(frames_padding: int) -> None:
    layer, received, _ = _layer(16, 2, 1)
    found = transposed_convolution(received, layer.weight, layer.bias, stride=1, frames_padding=frames_padding)
    expected = _plain(layer, received)[:, :, frames_padding - 1 : 5 - frames_padding]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_sums_over_many_places_keep_their_digits_in_bf16() -> None:
    layer = TransposedConvolution(8, 8, stride=2)
    with autocast("bf16", CPU):
        output = layer(torch.zeros(1, 8, 8, 32, 32))  # 65536 places, each with the gradient 1: beyond bfloat16's integers
        torch.autograd.backward(output, torch.ones_like(output))
    assert layer.bias is not None
    assert layer.bias.grad is not None
    assert (layer.bias.grad == 65536).all()


def test_names_and_shapes_of_weights_are_those_of_torch() -> None:
    own = TransposedConvolution(16, 8, stride=2)
    plain = nn.ConvTranspose3d(16, 8, 3, stride=2, padding=1, output_padding=1)
    plain.load_state_dict(own.state_dict())
    received = torch.randn(1, 16, 2, 4, 4)
    torch.testing.assert_close(own(received), plain(received), rtol=0, atol=1e-5)


def test_a_whole_training_step_has_the_gradients_of_plain_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = torch.rand(2, 16, 32, 32, 1).permute(0, 4, 1, 2, 3) * 2 - 1

    def step() -> tuple[Tensor, list[Tensor]]:
        network = make_autoencoder(channels=1, width=0.25, seed=0, device=CPU).train()
        loss = F.mse_loss(network(clip), clip)
        names = [name for name, _ in network.named_parameters() if not _before_normalisation(name)]
        wanted = dict(network.named_parameters())
        return loss.detach(), list(torch.autograd.grad(loss, [wanted[name] for name in names]))

    own_loss, own = step()
    monkeypatch.setattr(TransposedConvolution, "forward", nn.ConvTranspose3d.forward)
    plain_loss, plain = step()
    torch.testing.assert_close(own_loss, plain_loss, rtol=1e-6, atol=0)
    for one, other in zip(own, plain, strict=True):
        assert _distance(one, other) < 1e-4


def _before_normalisation(name: str) -> bool:
    """Say whether this is a bias that normalisation takes away again: its gradient is nothing but roundings."""
    stage, number, kind = (*name.split("."), "")[:3]
    return kind == "bias" and stage in ("encoder", "decoder") and int(number) % 3 == 0
