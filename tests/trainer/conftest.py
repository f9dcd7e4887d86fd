"""One small training, shared by the tests that look at what it leaves."""

import pytest
from squares import make_training, silent, small_settings

from trainer.bundle import Bundle
from trainer.training import train


@pytest.fixture(scope="session")
def trained() -> Bundle:
    settings = small_settings(epochs=8, learning_rate=1e-3, temporal_pa="motion", discriminator_epochs=40)
    return train(make_training(), settings, silent)
