"""Every setting of every stage: one frozen model per section of the TOML file, validated once.

A setting that determines what a stage writes is part of that stage's key. The few that do not (where to run, how many
items at once) are marked with ``operational`` and recorded in the provenance instead.
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, model_validator

FLOW_FILES = "files"  # the estimator that estimates nothing
CLIP_FRAMES = 16  # T of the autoencoder family; the encoder halves time three times, so T must stay a multiple of 8


class ConfigError(ValueError):
    """A setting is unknown, out of range or contradicts another one."""


def redact(text: str) -> str:
    """Return a text without the passwords and query strings of URLs in it: nothing that is shown or kept holds them."""
    text = re.sub(r"([A-Za-z][\w+.-]*://)[^\s/'\"]*@", r"\1***@", text)
    return re.sub(r"([A-Za-z][\w+.-]*://[^\s'\"?]*)\?[^\s'\"]+", r"\1?***", text)


def _location(value: Any) -> Path | str:
    """Return a folder or, where it has a scheme, a URL."""
    if not isinstance(value, str | Path):
        raise ValueError("expected a folder or a URL")
    if isinstance(value, Path) or "://" not in value:
        return Path(value)
    if redact(value) != value:
        raise ValueError(
            "expected a URL without password and query, which would be stored with what is made; credentials belong into "
            "the environment or the files of the library, such as AWS_PROFILE or ~/.config/fsspec"
        )
    return value


Location = Annotated[Path | str, PlainValidator(_location)]
"""A folder, or a URL that fsspec knows. No URL holds a secret."""


def operational(default: Any, description: str, **limits: Any) -> Any:
    """Return a field that is recorded as provenance but is no part of any key."""
    return Field(default, description=description, json_schema_extra={"operational": True}, **limits)


class Section(BaseModel):
    """One section of the settings file: frozen, keyword only, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)  # a worker process needs few of them

    def determining(self) -> dict[str, Any]:
        """Return the settings that determine the output of the stage, as plain JSON values."""
        kept = {
            name
            for name, field in type(self).model_fields.items()
            if not (isinstance(field.json_schema_extra, dict) and field.json_schema_extra.get("operational"))
        }
        return self.model_dump(mode="json", include=kept)


class DatasetSettings(Section):
    """Which videos there are. Keys depend on the content of the videos, not on these settings."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "dataset"
    """Names the folder below the cache; also part of the seeds."""
    kind: str = "folder"
    """The layout on disk: ucsd, avenue, shanghaitech, ubnormal, frames, folder or synthetic (see docs/datasets.md)."""
    root: Location = Path("data")
    """Folder of the dataset, relative to the working directory; or a URL such as s3://bucket/videos (docs/datasets.md)."""
    part: Literal["ped1", "ped2"] = "ped2"
    """Which half of the UCSD dataset; read by the ucsd layout only."""
    benchmark: Literal["ped1", "ped2", "avenue", "shanghaitech", "ubnormal"] | None = None
    """Which published dataset a frames layout holds: `stpa data check` compares with its totals, and labels are looked for
    under its name. None: what the folder or the file of labels is called, if that is one of them."""
    labels: Annotated[Literal["3712", "3867"] | None, BeforeValidator(lambda name: str(name) if name else None)] = None
    """Label set of Avenue, by its anomalous frames: 3712 = the published pixel masks, 3867 = frame_labels_avenue.npy, as
    used by STEAL, LNTRA, MNAD and the paper. None: the masks (avenue layout), or what is there (frames layout)."""
    tracks: Path | None = None
    """Folder with a file of true regions per test video, ID.txt: track,frame,x1,y1,x2,y2 (from 0) or, after MERL, frame
    track cx cy w h (from 1). None: those of the layout, or regions found in its pixel masks."""
    camera: str = "*"
    """Which cameras of a folder layout, as a pattern: the folders in train/ and test/. Give each its own dataset.name."""
    fps: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Frames per second to which recordings of a folder layout are thinned out; None: as recorded."""
    damaged: Literal["refuse", "use"] = "refuse"
    """A recording of a folder layout that was cut off: refuse it, or use what can be decoded of it."""


class SyntheticSettings(Section):
    """What ``stpa data synth`` renders; read by that command only. Equal settings give identical videos."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Chooses the scene, the people, the anomalies and their times."""
    train_videos: Annotated[int, Field(ge=1, le=10_000)] = 8
    test_videos: Annotated[int, Field(ge=0, le=10_000)] = 10
    """About one in five of them is normal throughout."""
    frames: Annotated[int, Field(ge=CLIP_FRAMES, le=1_000_000)] = 150
    """Frames per video."""
    height: Annotated[int, Field(ge=48, le=4096, multiple_of=2)] = 240
    """Pixels; even, because video codecs store colour at half the size."""
    width: Annotated[int, Field(ge=48, le=4096, multiple_of=2)] = 320
    fps: Annotated[int, Field(ge=5, le=60)] = 25
    """Frames per second; speeds are in body heights per second and do not depend on it."""


class FramesSettings(Section):
    """Frames at model resolution."""

    height: Annotated[int, Field(ge=32, multiple_of=16)] = 256
    """Pixels; a multiple of 16, because the autoencoders halve the picture four times."""
    width: Annotated[int, Field(ge=32, multiple_of=16)] = 256
    colour: Literal["grey", "rgb"] = "rgb"
    """Stored channels. The spatial autoencoder converts to grey itself (train.colour)."""


class FlowsSettings(Section):
    """Dense optical flow between consecutive frames."""

    estimator: str = "farneback"
    """farneback, dis, dis-fine or tvl1; a network, raft-small or raft-large, which sees colour and is best run on a GPU; or
    files: flow that was made elsewhere."""
    folder: Path | None = None
    """Of files: holds SPLIT-VIDEO/NUMBER.flo or KITTI's .png, as `stpa flows --export` leaves them; docs/weights.md."""
    source: Literal["frames", "video"] = "frames"
    """Computed on the stored frames, or on the video at its native size and then resized with rescaled vectors."""
    weights: str = "default"
    """Of RAFT: default = torchvision's, by name from its hub; or, under torchvision's names, a .safetensors or .pth file
    or a folder with model.safetensors, such as `stpa import-weights raft` leaves."""
    updates: Annotated[int, Field(ge=1, le=1000)] = 12
    """How often RAFT refines its flow."""
    precision: Literal["mixed", "fp32", "bf16"] = "mixed"
    """Of RAFT: mixed = on a GPU half precision in its networks, as published; bf16 = that half everywhere, faster on
    processors that know it and less exact. Correlations and flow stay fp32."""
    batch_size: int = operational(8, "pairs of frames seen by RAFT at once", ge=1)
    device: str = operational("auto", "of RAFT: auto, cpu, cuda, cuda:1 ...")

    def determining(self) -> dict[str, Any]:
        """Leave out what only RAFT or files read where there are none: no key of other flow depends on it."""
        settings = {name: value for name, value in super().determining().items() if name != "folder"}
        if self.estimator.startswith("raft"):
            return settings
        read = ("estimator",) if self.estimator == FLOW_FILES else ("estimator", "source")
        return {name: settings[name] for name in read}


class MasksSettings(Section):
    """Regions to replace: one moving object, followed over time."""

    source: str = "motion"
    """motion: silhouette of a moving object; mask-rcnn: of an object that torchvision's Mask R-CNN finds, which is best run
    on a GPU and needs no flow; random: strokes and boxes after LaMa."""
    seed: int = 0
    min_area: Annotated[float, Field(gt=0, lt=1)] = 0.001
    """Smallest silhouette, as a share of the frame (the paper's examples on Ped2 cover 0.0025)."""
    max_area: Annotated[float, Field(gt=0, le=1)] = 0.10
    dilate: Annotated[int, Field(ge=0, le=32)] = 1
    """Pixels by which a silhouette grows, so that no rim of the object stays visible."""
    hold: Annotated[int, Field(ge=CLIP_FRAMES)] = CLIP_FRAMES
    """Frames over which one object is kept at least, where it can be followed."""
    detector: Literal["maskrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn_v2"] = "maskrcnn_resnet50_fpn_v2"
    """Of mask-rcnn: which of torchvision's two."""
    weights: str = "default"
    """Of mask-rcnn: default = torchvision's, by name from its hub; or a .safetensors or .pth file under torchvision's names,
    or a folder with model.safetensors."""
    classes: Annotated[tuple[str, ...], Field(min_length=1)] = ("person",)
    """Of mask-rcnn: which of the 80 classes of COCO are objects."""
    score: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Of mask-rcnn: how sure it must be of an object at least."""
    short_side: Annotated[int, Field(ge=32, le=4096)] = 800
    """Of mask-rcnn: pixels to which the short side of a frame is enlarged for it; 800 as published, fewer are faster."""
    precision: Literal["mixed", "fp32"] = "mixed"
    """Of mask-rcnn on a GPU: mixed = half precision where torch's autocast chooses it."""
    batch_size: int = operational(4, "frames seen by Mask R-CNN at once", ge=1)
    device: str = operational("auto", "of mask-rcnn: auto, cpu, cuda, cuda:1 ...")

    def determining(self) -> dict[str, Any]:
        """Leave out what only Mask R-CNN reads where it is not the source: no key of other masks depends on it."""
        settings = super().determining()
        if self.source == "mask-rcnn":
            return {**settings, "classes": sorted(set(self.classes))}
        return {name: settings[name] for name in ("source", "seed", "min_area", "max_area", "dilate", "hold")}

    @model_validator(mode="after")
    def _areas_ordered(self) -> Self:
        if self.min_area >= self.max_area:
            raise ValueError(f"min_area {self.min_area} must be below max_area {self.max_area}")
        return self


class InpaintSettings(Section):
    """Spatial pseudo-anomalies: the masked region repainted by a latent diffusion model."""

    model: str = "embedded"
    """embedded; a folder laid out like pipeline/models/embedded/ldm, such as `stpa import-weights` leaves; an inpainting
    pipeline of diffusers, as a folder or by its id on the hub (OWNER/NAME, fetched before); or, as a control without any
    learning, opencv-telea or opencv-ns. What follows is part of the key only for the models that read it."""
    revision: str = ""
    """Branch, tag or commit of a model of the hub; empty = main."""
    steps: Annotated[int, Field(ge=1, le=1000)] = 10
    """DDIM steps; of a pipeline, those of its scheduler."""
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0
    """0 = deterministic DDIM."""
    seed: int = 0
    view: Literal["hole", "zoom", "frame"] = "hole"
    """What the model sees and paints: hole = a square around the hole, as large as the pictures it was trained with (or
    larger, where the hole needs it), which is several times quicker; zoom = the hole and its surroundings, brought to
    that size, for holes that are small in it; frame = the whole frame. Pipelines of diffusers always paint at the size
    they were trained with: windows and frames are brought to it and back."""
    context: Annotated[int, Field(ge=0, le=4096)] = 16
    """Pixels of the frame around the hole that hole and zoom show on each side, where there are so many."""
    composite: bool = True
    """Paste the original back outside the mask (the autoencoder of the LDM changes every pixel a little)."""
    prompt: str = ""
    """What a pipeline shall paint; empty = whatever fits. The settings from here to watermark are of pipelines only."""
    negative_prompt: str = ""
    """What it shall not paint."""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] = 7.5
    """How far to go in the direction of the prompt; up to 1 = not at all, which takes half of the time."""
    strength: Annotated[float, Field(gt=0, le=1)] = 1.0
    """1 = begin with noise alone; less keeps something of what was in the hole, and takes this share of the steps."""
    scheduler: str = ""
    """Class of diffusers that takes the steps, such as DDIMScheduler; empty = the one that the pipeline came with."""
    size: Annotated[int, Field(ge=8, le=4096, multiple_of=8)] | None = None
    """Pixels of the short side of what a pipeline paints; none = what it was trained with."""
    safety_checker: bool = False
    """Let a pipeline's checker blacken pictures that it takes for indecent; it errs, and errors would become anomalies."""
    watermark: bool = False
    """Let a pipeline hide its watermark in every picture."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """auto = fp16 on a GPU and fp32 elsewhere; of the LDM, bf16 everywhere."""
    radius: Annotated[float, Field(ge=1, le=100)] = 3.0
    """Of opencv-telea and opencv-ns: pixels around each painted one that are looked at."""
    batch_size: int = operational(8, "images painted at once; halved by itself where a GPU has no memory for them", ge=1)
    device: str = operational("auto", "auto, cpu, cuda, cuda:1 ...")


class FeaturesSettings(Section):
    """Embeddings of single frames by a CLIP image encoder."""

    model: str = "embedded"
    """embedded; a folder that CLIPVisionModelWithProjection.from_pretrained opens, or SiglipVisionModel; or the id of such a
    model on the hub (OWNER/NAME, fetched before). See docs/weights.md."""
    revision: str = ""
    """Branch, tag or commit of a model of the hub; empty = main."""
    preprocessing: Literal["letterbox", "centre-crop"] = "letterbox"
    """letterbox keeps the whole frame; centre-crop is CLIP's own and cuts the sides of a wide frame."""
    precision: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    """Of the encoder's arithmetic: auto = fp16 on a GPU and fp32 elsewhere."""
    file: Path | None = None
    """An HDF5 file of features made elsewhere, read instead of making any; docs/architecture.md says what it must hold."""
    batch_size: int = operational(32, "frames encoded at once", ge=1)
    device: str = operational("auto", "auto, cpu, cuda, cuda:1 ...")

    def determining(self) -> dict[str, Any]:
        """Leave out where the file lies: the stages add what identifies its content, and no other key depends on it.

        So are a revision that is not given and the usual precision, which are in no key that was made before there were any.
        """
        usual = {"revision": "", "precision": "auto"}
        return {
            name: value
            for name, value in super().determining().items()
            if name != "file" and (name not in usual or value != usual[name])
        }


class TrainSettings(Section):
    """The two autoencoders, the motion network and the discriminator."""

    seed: int = 0
    epochs: Annotated[float, Field(gt=0)] = 60
    """Passes over all clips (every start index is one); the last one is the result, nothing is selected."""
    batch_size: Annotated[int, Field(ge=1)] = 4
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    schedule: Literal["constant", "cosine"] = "constant"
    """constant as published; cosine: 50 steps of warm-up, then down to 2 %, which suits few epochs and high rates."""
    reduce: Literal[1, 2, 4] = 1
    """The autoencoders see frames and flow averaged over squares of this side: 2 takes about a fifth of the time."""
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor on the channels 96-128-256-256 of the autoencoders."""
    place: bool = True
    """Tell the autoencoders where they look (x and y as channels): what is normal depends on it; false = as published."""
    skips: tuple[Literal[2, 3], ...] = ()
    """Levels of the encoder that are added to the decoder, as U-Nets do, so that few epochs suffice; none = as published."""
    colour: Literal["grey", "rgb"] = "grey"
    """What the spatial autoencoder sees; the family uses one grey channel."""
    p_s: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Probability that a frame clip is replaced by its spatial pseudo-anomaly."""
    p_t: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that a flow clip is replaced by its temporal pseudo-anomaly."""
    spatial_pa: str = "inpainting"
    """Kind of spatial pseudo-anomaly: inpainting or objects; or, of published baselines, skip, steal or patch (registries
    in trainer/pseudo_anomalies.py)."""
    temporal_pa: str = "mixup"
    """Kind of temporal pseudo-anomaly: mixup, mixup-in-place, motion or bodies; or skip, steal or patch."""
    mixup_alpha: Annotated[float, Field(gt=0)] = 0.4
    """lam ~ Beta(alpha, alpha)."""
    flow_scale: Annotated[float, Field(gt=0)] | None = None
    """Pixels per frame that map to 1; none = twice the 99.9th percentile of magnitude in the training flow."""
    flow_sigma: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Gaussian over which flow is averaged before the temporal autoencoder sees it, as a share of the frame's height: where
    flow is sharp, swinging legs are as fast as a bicycle, bodies are not. 0 = as published."""
    motion_epochs: Annotated[float, Field(ge=0)] = 0
    """Passes over all clips of the motion network, which marks unusual motion place by place; 0 = none, as published."""
    motion_reduce: Literal[1, 2, 4] = 1
    """As reduce, for the motion network: it has to see legs, so that flow_sigma is not for it."""
    discriminator_epochs: Annotated[int, Field(ge=0)] = 30
    """Passes over the features; 0 = no discriminator, so no semantic indicator."""
    objects: bool = True
    """Judge every object by those of normal video at its place: its size, shape and motion. Needs a fixed camera."""
    object_area: Annotated[float, Field(gt=0, lt=1)] = 0.0004
    """Share of the frame that an object covers at least."""
    calibration_windows: Annotated[int, Field(ge=16)] = 512
    """Windows of normal training video, drawn by the seed, from which errors at each place are learnt."""
    region_sigma: Annotated[float, Field(ge=0, le=0.5)] = 0.06
    """Gaussian over which errors are averaged, as a share of the frame's height: half of a small person's."""
    region_quantile: Annotated[float, Field(gt=0.5, le=1)] = 1.0
    """Which place of the frame counts: 1 = the worst one, 0.99 = all but the worst hundredth are better."""
    place_floor: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Error expected at least everywhere, as a share of that at the worst place; 1 = places are not told apart."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """bf16 = autocast where the hardware has it; weights and optimiser stay fp32."""
    compile: bool = False
    """torch.compile the autoencoders; on a CPU it needs a C++ compiler and was slower (docs/architecture.md).

    It rounds otherwise, so that it is another training.
    """
    validation_share: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the normal training videos (of a single video its end) that the autoencoders are not fitted to: training
    stops early, and the epoch with the least error on them is the result. 0 = none, the last epoch is the result."""
    patience: Annotated[int, Field(ge=1)] = 5
    """Epochs without a smaller error on the validation videos after which training stops."""
    device: str = operational("auto", "auto, cpu, cuda, cuda:1 ...; two with a comma between: one for each autoencoder")
    data: Literal["auto", "memory", "stream"] = operational(
        "auto", "memory = read once, to the device if it fits; stream = read clip by clip; auto = by size"
    )
    data_gib: float | None = operational(None, "most GiB of data in memory; none = 70 % of what is free", gt=0)
    loaders: int = operational(2, "processes that read clips from the cache (stream)", ge=1)
    checkpoint_minutes: float = operational(5.0, "minutes between checkpoints", gt=0)
    checkpoint_steps: int | None = operational(None, "steps between checkpoints; none = by time alone", ge=1)
    tensorboard: bool = operational(True, "write logs for TensorBoard where it is installed")

    def determining(self) -> dict[str, Any]:
        """Leave out choices that were not taken: no key of a training without them depends on them."""
        settings = super().determining()
        if not self.compile:
            del settings["compile"]
        if not self.validation_share:
            del settings["validation_share"], settings["patience"]
        if not self.flow_sigma:
            del settings["flow_sigma"]
        if not self.motion_epochs:
            del settings["motion_epochs"], settings["motion_reduce"]
        return settings


Indicator = Literal["spatial", "temporal", "motion", "semantic", "objects"]


class EvalSettings(Section):
    """From trained models to scores and metrics."""

    pooling: Literal["region", "frame"] = "region"
    """region: highest mean error over any object-sized region, against what training shows at that place;
    frame: mean squared error of the whole frame, as published. Both are always reported; this one is fused."""
    protocols: tuple[Literal["paper", "deployment"], ...] = ("paper", "deployment")
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """Share of normal frames that may raise an alarm; the threshold for it comes from training windows alone."""
    region_rate: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """Share of normal frames that show any region, however low its score: RBDC and TBDC count up to one false region per
    frame. A region is an alarm from the score that a share false_alarm_rate of normal frames reaches."""
    region_min_area: Annotated[float, Field(ge=0, lt=1)] = 0.001
    """Smallest region, as a share of the frame."""
    bootstrap: Annotated[int, Field(ge=0, le=100_000)] = 1000
    """Draws of test videos behind the confidence intervals; 0 = no intervals."""
    fps: Annotated[float, Field(gt=0)] | None = None
    """Frames per second of videos whose files do not say (folders of images): false alarms per hour, delays in seconds."""
    mode: Literal["exact", "dense"] = "exact"
    """exact: every frame by its own window of 16, as the protocols say. dense: by long windows, many times faster; frames to
    come have a part in every score, so that nothing is causal, and numbers differ a little (docs/results.md)."""
    phases: Literal[1, 2, 4, 8, "centre"] = 1
    """Of dense: over how many phases of the network's strides errors are averaged; as many times the time. centre: eight
    too, of which each frame takes the one that it has in the middle of a window of 16."""
    precision: Literal["as-trained", "bf16", "fp32"] = "as-trained"
    """Of the autoencoders: that of train.precision, or another one."""
    indicators: Annotated[tuple[Indicator, ...], Field(min_length=1)] | None = None
    """Which indicators are fused; none = all that the model has."""
    batch_size: int = operational(8, "windows scored at once", ge=1)
    device: str = operational("auto", "auto, cpu, cuda, cuda:1 ...")

    def determining(self) -> dict[str, Any]:
        """Leave out what is not chosen, so that choices of later versions change no key of earlier ones."""
        settings = super().determining()
        for name in ("mode", "precision", "indicators"):
            if settings[name] == type(self).model_fields[name].default:
                del settings[name]
        if self.mode == "exact":
            del settings["phases"]
        return settings


class RunSettings(Section):
    """Where artifacts live and how the work is cut up."""

    cache: Location = operational(Path("cache"), "folder of all artifacts, or a URL such as s3://bucket/prefix")
    workers: int = operational(1, "local processes; 1 = this process", ge=1)
    shard_frames: Annotated[int, Field(ge=CLIP_FRAMES)] = 128
    """Frames per shard: the unit of work, of writing and of resuming."""
    compress: bool = operational(
        False, "compress new frames and inpainted frames (to 0.6 to 0.85 of the disk) and flow (to 0.95); slower to read"
    )


class Config(Section):
    """All settings. A section per stage, so that what determines an artifact can be read off the file."""

    dataset: DatasetSettings = DatasetSettings()
    synthetic: SyntheticSettings = SyntheticSettings()
    frames: FramesSettings = FramesSettings()
    flows: FlowsSettings = FlowsSettings()
    masks: MasksSettings = MasksSettings()
    inpaint: InpaintSettings = InpaintSettings()
    features: FeaturesSettings = FeaturesSettings()
    train: TrainSettings = TrainSettings()
    eval: EvalSettings = EvalSettings()
    run: RunSettings = RunSettings()


def load_config(path: Path | None, overrides: Iterable[str] = ()) -> Config:
    """Read a TOML file over the defaults and apply ``section.name=value`` overrides.

    Raises
    ------
    ConfigError
        The file is missing or no TOML, a name is unknown (the nearest known one is named) or a value is refused.
    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: expected a settings file, found none; configs/ holds examples") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise ConfigError(f"{path}: cannot be read as TOML: {error}") from error
    in_file = set(data)
    overridden: list[tuple[str, ...]] = [_apply_override(data, override) for override in overrides]
    overridden += [(section,) for section, *_ in overridden if section not in in_file]
    return parse_config(data, where=str(path) if path else "settings", overridden=overridden)


def parse_config(
    data: Mapping[str, Any], *, where: str = "settings", overridden: Collection[tuple[str, ...]] = ()
) -> Config:
    """Validate plain values, of which some were set by options; see :func:`load_config` for what is raised."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        lines = [_explain(problem, "--set" if problem["loc"][:2] in overridden else where) for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _apply_override(data: dict[str, Any], override: str) -> tuple[str, str]:
    """Put a value into ``data`` and return where."""
    name, equals, text = override.partition("=")
    section, dot, setting = name.strip().partition(".")
    if not equals or not dot:
        raise ConfigError(f"--set {redact(override)!r}: expected SECTION.NAME=VALUE, such as inpaint.steps=20")
    if not isinstance(data.setdefault(section, {}), dict):
        raise ConfigError(f"--set {override!r}: [{section}] is not a section in the settings file")
    data[section] = {**data[section], setting: _toml_value(text.strip())}
    return section, setting


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text  # a bare word is a string: --set flows.estimator=dis


def _explain(problem: Any, where: str) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown setting {name!r}{_nearest(problem['loc'])}"
    return redact(f"{where}: {name}: {problem['msg']}, found {problem['input']!r}")


def _nearest(loc: tuple[Any, ...]) -> str:
    section = Config.model_fields.get(str(loc[0]))
    if len(loc) == 1:
        known = list(Config.model_fields)
    else:
        model = section.annotation if section else None
        known = list(getattr(model, "model_fields", {}))
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
