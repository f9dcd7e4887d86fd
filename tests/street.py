"""The command as a user types it, in a small project whose every stage is real."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what runs in the background
sys.path.insert(0, sys.argv.pop(1))
from stpa import main
main()
"""
SETTINGS = """
[dataset]
name = "street"
kind = "synthetic"
root = "street"

[synthetic]
seed = 5
train_videos = 3
test_videos = 3
frames = 64
height = 96
width = 128

[frames]
height = 64
width = 80

[inpaint]
steps = 2

[train]
width = 0.1
batch_size = 8
learning_rate = 2e-3
schedule = "cosine"
epochs = 1
motion_epochs = 1
calibration_windows = 64

[run]
shard_frames = 32
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM, str(ROOT), *arguments]


def stpa(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    name, *rest = arguments
    words = (name, *rest[:1], "--config", "s.toml", *rest[1:]) if name == "data" else (name, "--config", "s.toml", *rest)
    done = subprocess.run(command(*words), cwd=folder, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == code, f"stpa {' '.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def status(folder: Path, *arguments: str) -> dict[str, Any]:
    rows = json.loads(stpa(folder, "status", "--json", *arguments).stdout)["stages"]
    return {row["stage"]: row for row in rows}
