"""The pseudo-anomalies of the training as pictures."""

from collections.abc import Sequence

import numpy as np

from pipeline.config import TrainSettings
from pipeline.contract import Array
from pipeline.models.flow_colours import flow_colours
from scoring.report.markup import Markup, join, picture, tag
from scoring.report.pictures import encode
from scoring.report.samples import Sample


def pseudo_anomalies(samples: Sequence[Sample] | str, settings: TrainSettings, full: float) -> Markup:
    """Return what the autoencoders were shown instead of normal clips, and had to turn back; ``full`` as for the flow."""
    if isinstance(samples, str):
        return tag("p", samples, class_="note")
    said = (
        f"In training a frame clip was replaced by its spatial pseudo-anomaly ({settings.spatial_pa}) with probability "
        f"{settings.p_s:g}, a flow clip by its temporal one ({settings.temporal_pa}) with probability {settings.p_t:g}; the "
        "target stayed the normal clip. One frame of a clip of 16 each, made anew as training makes them."
    )
    return join(tag("p", said), *(_sample(sample, full) for sample in samples))


def _sample(sample: Sample, full: float) -> Markup:
    shown: list[tuple[str, Array]] = [
        ("normal frame", sample.normal_HWC),
        ("object that is cut out", _tinted(sample.normal_HWC, sample.mask_HW)),
    ]
    if sample.spatial_HWC is not None:
        shown.append(("spatial pseudo-anomaly", sample.spatial_HWC))
    shown.append(("normal flow", flow_colours(sample.flow_2HW, full)))
    if sample.temporal_2HW is not None:
        shown.append(("temporal pseudo-anomaly", flow_colours(sample.temporal_2HW, full)))
    title = f"{sample.video}, frame {sample.frame}"
    height, width = sample.mask_HW.shape
    figures = [
        tag("figure", picture(encode(image), f"{name}: {title}", width, height), tag("figcaption", name))
        for name, image in shown
    ]
    return tag("section", tag("h3", title), tag("div", *figures, class_="row"), class_="sample")


def _tinted(frame_HWC: Array, mask_HW: Array) -> Array:
    """Return the frame, pale and grey but for the object, which is seen in its own colours."""
    grey_HW1 = frame_HWC.astype(np.float32).mean(2, keepdims=True)
    faded_HWC = np.broadcast_to(grey_HW1 * 0.35 + 160, (*mask_HW.shape, 3))
    return np.where(mask_HW[..., None], np.broadcast_to(frame_HWC, faded_HWC.shape), faded_HWC).astype(np.uint8)
