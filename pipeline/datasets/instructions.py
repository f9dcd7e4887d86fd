"""How to get each dataset, step by step: some have to be asked for by hand, and none is downloaded by a command."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pipeline.datasets.archives import SUFFIXES


@dataclass(frozen=True, kw_only=True)
class HowToGet:
    """What to fetch and what to know about it."""

    title: str
    steps: tuple[str, ...]
    sources: str
    """What to name on the command line."""
    size: str
    """Of the download, as far as it is known."""
    licence: str


_UCSD = HowToGet(
    title="UCSD Ped1 and Ped2",
    steps=(
        "open http://www.svcl.ucsd.edu/projects/anomaly/dataset.htm",
        "download UCSD_Anomaly_Dataset.tar.gz, which holds both; if the link is dead, a mirror that has the folders "
        "UCSDped1 and UCSDped2 will do: the check afterwards tells whether it is complete",
    ),
    sources="UCSD_Anomaly_Dataset.tar.gz",
    size="0.7 GB (recalled)",
    licence="see that page; none came with our copy",
)

HOW_TO_GET: Mapping[str, HowToGet] = MappingProxyType(
    {
        "ped1": _UCSD,
        "ped2": _UCSD,
        "avenue": HowToGet(
            title="CUHK Avenue",
            steps=(
                "open http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/dataset.html",
                "download Avenue_Dataset.zip (the videos) and ground_truth_demo.zip (the pixel masks, label set 3712)",
                "only for comparing with the paper and others who use label set 3867: frame_labels_avenue.npy from the data "
                "that MNAD or LNTRA publish beside their code; then say --labels 3867",
            ),
            sources="Avenue_Dataset.zip ground_truth_demo.zip [frame_labels_avenue.npy]",
            size="0.8 GB (recalled)",
            licence="see that page",
        ),
        "shanghaitech": HowToGet(
            title="ShanghaiTech Campus",
            steps=(
                "open https://svip-lab.github.io/dataset/campus_dataset.html",
                "follow its links to a store of files; it has to be opened in a browser, and may ask for a login or a code "
                "that the page names. Where the link is dead, write to the authors of 'Future Frame Prediction for Anomaly "
                "Detection', CVPR 2018 (addresses in the article): who you are, what for, and that it is for research",
                "download everything: training videos, testing frames, test_frame_mask and test_pixel_mask",
                "if it comes as .rar, .7z or in several parts, unpack it first, and name the folder",
            ),
            sources="shanghaitech.tar.gz, or the unpacked folder shanghaitech/",
            size="about 20 GB unpacked, of which 17 GB are pixel masks (recalled)",
            licence="see that page",
        ),
        "ubnormal": HowToGet(
            title="UBnormal",
            steps=(
                "open https://github.com/lilygeorgescu/UBnormal and read its licence",
                "follow the link in its README to the archive; it has to be opened in a browser, and may ask for a login",
                "from the same repository take the folder scripts/, which holds the six lists *_video_names.txt",
                "if it comes as .rar, .7z or in several parts, unpack it first, and name the folder",
            ),
            sources="UBnormal.zip scripts/",
            size="several GB",
            licence="CC BY-NC-ND 4.0: not for commercial use, and changed copies may not be passed on",
        ),
        "folder": HowToGet(
            title="your own recordings",
            steps=(
                "put recordings of what is normal only into FOLDER/train/CAMERA/, others into FOLDER/test/CAMERA/; or leave "
                "them in FOLDER/CAMERA/, and say with --test which are not for training, such as --test '*2024-06-*'",
                "optional: FOLDER/labels.csv and FOLDER/left_out.csv, lines video,start,end; see docs/datasets.md",
            ),
            sources="FOLDER",
            size="what you have; nothing is copied",
            licence="yours",
        ),
    }
)


def instructions(name: str) -> str:
    """Return the steps from nothing to a checked dataset."""
    how = HOW_TO_GET[name]
    steps = [*how.steps, f"stpa data prepare {name} {how.sources}"]
    lines = [f"{how.title}: {how.size}; licence: {how.licence}"]
    lines += [f"  {number}. {step}" for number, step in enumerate(steps, start=1)]
    lines.append(f"Archives that are read here: {' '.join(SUFFIXES)}. Folders are read where they are.")
    return "\n".join(lines)
