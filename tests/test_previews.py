"""Contact sheets of a project that went through every stage."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from street import stpa

from pipeline.sheets import GAP, LINE

HEIGHT, WIDTH, FACTOR = 64, 80, 3  # of a stored frame, and by what a sheet enlarges it


def cells(page_HWC: NDArray[np.uint8], row: int) -> list[NDArray[np.int64]]:
    """Return the pictures of one row of a sheet at the size of stored frames."""
    top = 2 * LINE + GAP + row * (LINE + FACTOR * HEIGHT + GAP)
    lefts = range(GAP, page_HWC.shape[1] - GAP, FACTOR * WIDTH + GAP)
    found = [page_HWC[top : top + FACTOR * HEIGHT : FACTOR, left : left + FACTOR * WIDTH : FACTOR] for left in lefts]
    return [cell_HWC.astype(np.int64) for cell_HWC in found]


@pytest.mark.timeout(400)
def test_a_preview_of_inpainting_shows_what_was_replaced_and_only_that(street: Path) -> None:
    path = street / stpa(street, "inpaint", "--preview", "2", "--set", "train.temporal_pa=motion").stdout.strip()
    page_HWC = np.asarray(cv2.imread(str(path)), np.uint8)
    for row in range(2):
        frame, mask, flow, spatial, temporal = cells(page_HWC, row)
        assert set(np.unique(mask)) == {0, 255}
        replaced_HW = mask[..., 0] == 255
        changed_HW = (spatial != frame).any(-1)
        assert changed_HW[replaced_HW].mean() > 0.5
        assert not changed_HW[~replaced_HW].any()
        assert (temporal != flow).any()


@pytest.mark.timeout(400)
def test_a_preview_of_videos_that_hold_no_training_is_refused(street: Path) -> None:
    assert "matches none" in stpa(street, "inpaint", "--preview", "2", "--videos", "test-*", code=2).stderr
