"""Checkpoints: what `transformers` or peft saves, plus a scoring file; in a local folder or on the Hub."""

from artquant_plugin.checkpoint.identity import Identity
from artquant_plugin.checkpoint.known import KnownCheckpoint, known_checkpoints
from artquant_plugin.checkpoint.load import Checkpoint, load_checkpoint, locate_base, locate_original
from artquant_plugin.checkpoint.locate import locate
from artquant_plugin.checkpoint.presets import choose_scoring, shipped_presets
from artquant_plugin.checkpoint.processor import load_processor
from artquant_plugin.checkpoint.save import restore_weights, save_checkpoint
from artquant_plugin.checkpoint.spec import OWN, SCORING_FILE, ScoringSpec, has_scoring_file

__all__ = [
    "OWN",
    "SCORING_FILE",
    "Checkpoint",
    "Identity",
    "KnownCheckpoint",
    "ScoringSpec",
    "choose_scoring",
    "has_scoring_file",
    "known_checkpoints",
    "load_checkpoint",
    "load_processor",
    "locate",
    "locate_base",
    "locate_original",
    "restore_weights",
    "save_checkpoint",
    "shipped_presets",
]
