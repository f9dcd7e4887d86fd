"""The synthetic dataset: a procedural street under a fixed camera, with exact labels, masks and tracks."""

from pipeline.config import SyntheticSettings
from pipeline.synthetic.render import RenderedVideo, render_video
from pipeline.synthetic.settings import KINDS

__all__ = ["KINDS", "RenderedVideo", "SyntheticSettings", "render_video"]
