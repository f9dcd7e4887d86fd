"""The classes of COCO (Lin et al., ECCV 2014), by the numbers that torchvision's detectors give. Imports no torch."""

import difflib
from collections.abc import Iterable

from pipeline.config import ConfigError

# fmt: off
_BY_NUMBER = (
    "", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep",
    "cow", "elephant", "bear", "zebra", "giraffe", "", "backpack", "umbrella", "", "", "handbag", "tie", "suitcase",
    "frisbee", "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "",
    "dining table", "", "", "toilet", "", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave",
    "oven", "toaster", "sink", "refrigerator", "", "book", "clock", "vase", "scissors", "teddy bear", "hair drier",
    "toothbrush",
)
# fmt: on
COCO = {name: number for number, name in enumerate(_BY_NUMBER) if name}
"""Name -> number, 80 of 1 to 90; the others were never used."""


def class_numbers(names: Iterable[str]) -> dict[int, str]:
    """Return number -> name of some classes.

    Raises
    ------
    ConfigError
        There is no such class; the nearest name is given.
    """
    for name in names:
        if name not in COCO:
            close = difflib.get_close_matches(name.lower(), COCO, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(COCO)}"
            raise ConfigError(f"masks.classes: expected names of COCO's classes, found {name!r}; {hint}")
    return {COCO[name]: name for name in names}
