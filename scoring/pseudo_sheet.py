"""A contact sheet of pseudo-anomalies, with the columns of the paper's figure."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts.workspace import Workspace
from pipeline.contract import Report, VideoRecord
from pipeline.execution.inputs import StoredInputs
from pipeline.models.flow_colours import flow_colours
from pipeline.sheets import Row, as_rgb, full_scale, save_sheet, sheet
from scoring.report.samples import Sample, make_samples


class NothingToShowError(Exception):
    """No pseudo-anomaly can be made of these videos yet."""


def preview_pseudo_anomalies(
    workspace: Workspace, records: Sequence[VideoRecord], count: int, report: Report
) -> str:
    """Draw frame, mask, flow, spatial and temporal pseudo-anomaly of up to ``count`` of these training videos.

    Returns
    -------
    str
        The file, beside the artifact of ``inpaint``: a path, or an address where the cache has one.

    Raises
    ------
    NothingToShowError
        There is none, and why.
    """
    chosen = Workspace(workspace.config, [type(stage) for stage in workspace.stages.values()], records)
    settings = workspace.config.train.model_copy(update={"spatial_pa": "inpainting", "p_s": 1.0, "p_t": 1.0})
    samples = make_samples(StoredInputs(chosen), settings, report, count)
    if isinstance(samples, str):
        raise NothingToShowError(samples)
    full = full_scale([sample.flow_2HW for sample in samples])
    titles = ("frame", "mask", f"flow, full from {full:.1f} px", "spatial, inpainted", f"temporal, {settings.temporal_pa}")
    return save_sheet(workspace, "inpaint", sheet(titles, [_row(sample, full) for sample in samples]))


def _row(sample: Sample, full: float) -> Row:
    frame_HWC = as_rgb(sample.normal_HWC)
    none_HWC = np.full_like(frame_HWC, 255)  # a clip without an object has no pseudo-anomaly
    mask_HWC: NDArray[np.uint8] = np.repeat(np.uint8(255) * sample.mask_HW[..., None], 3, axis=-1)
    spatial, temporal = sample.spatial_HWC, sample.temporal_2HW
    pictures = (
        frame_HWC,
        mask_HWC,
        flow_colours(sample.flow_2HW, full),
        none_HWC if spatial is None else as_rgb(spatial),
        none_HWC if temporal is None else flow_colours(temporal, full),
    )
    return Row(caption=f"train: {sample.video}, frame {sample.frame}", pictures=pictures)
