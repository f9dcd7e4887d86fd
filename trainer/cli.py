"""The trainer's subcommand."""

from pipeline.cli import stage_command
from trainer.seeds_cli import with_seeds

SUMMARY = "Train autoencoders and discriminator on the artifacts of the training split; goes on where it was stopped."
train = with_seeds(stage_command("train", summary=SUMMARY))
