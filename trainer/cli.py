"""The trainer's subcommand."""

from pipeline.cli import stage_command

train = stage_command("train", summary="Train autoencoders and discriminator on the artifacts of the training split.")
