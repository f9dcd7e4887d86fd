"""The published autoencoder as somebody would write it, of torch's own layers: what benchmarks compare with."""

from torch import Tensor, nn

CHANNELS = (96, 128, 256, 256)


class PublishedAutoencoder(nn.Module):
    """As STEAL-Net and LNTRA define it, with one grey channel; names of weights are those of ours."""

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__()
        a, b, c, d = (max(8, round(count * width / 8) * 8) for count in CHANNELS)
        self.encoder = nn.Sequential(*_down(1, a, frames=1), *_down(a, b), *_down(b, c), *_down(c, d))
        self.decoder = nn.Sequential(*_up(d, c), *_up(c, b), *_up(b, a))
        self.output = nn.ConvTranspose3d(a, 1, 3, stride=(1, 2, 2), padding=1, output_padding=(0, 1, 1))

    def forward(self, clip_BCTHW: Tensor) -> Tensor:
        """Return the reconstruction, (B, 1, T, H, W) in -1..1; T a multiple of 8, H and W of 16."""
        reconstruction: Tensor = self.output(self.decoder(self.encoder(clip_BCTHW))).tanh()
        return reconstruction


def _down(inputs: int, outputs: int, *, frames: int = 2) -> tuple[nn.Module, ...]:
    convolution = nn.Conv3d(inputs, outputs, 3, stride=(frames, 2, 2), padding=1)
    return convolution, nn.BatchNorm3d(outputs), nn.LeakyReLU(0.2, inplace=True)


def _up(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.ConvTranspose3d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
    return convolution, nn.BatchNorm3d(outputs), nn.LeakyReLU(0.2, inplace=True)
