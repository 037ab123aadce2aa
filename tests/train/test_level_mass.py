"""A checkpoint of the default loss is scored through a server as it is scored here; one of the paper's form is not."""

from pathlib import Path

from artquant_plugin.bulk.endpoint import EndpointEngine
from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.sections import LossSection
from tests.bulk.test_inputs import encoded
from tests.peers.logprob_server import LogprobServer, checkpoint_answer
from tests.tiny import pictures
from tests.train.trainers import samples, tiny_trainer


def trained(folder: Path, preset: str, steps: int) -> Path:
    """The folder of a checkpoint after some steps on the scores of eight paintings."""
    trainer = tiny_trainer(
        folder,
        samples(folder / "images", ["score"] * 8),
        batch=8,
        loss=LossSection(preset=preset),
        optim="adamw_torch",
        learning_rate=1e-2,
        max_steps=steps,
        seed=0,
    )
    trainer.train()
    trainer.save_model(str(folder / "checkpoint"))
    return folder / "checkpoint"


def through_a_server(folder: Path, images: list, *, listed: int) -> tuple[list, list]:
    """What a server that lists so many tokens gives for images, and what the checkpoint itself gives."""
    checkpoint = load_checkpoint(str(folder))
    own = ArtQuantScorer(checkpoint, level_mass=True).score(images)
    with LogprobServer(checkpoint_answer(checkpoint.model, checkpoint.processor, limit=listed)) as server:
        engine = EndpointEngine(server.url, "m", checkpoint.spec)
        return list(engine.results(map(encoded, images))), own


def test_a_trained_checkpoint_is_scored_through_a_server_within_its_bound(tmp_path):
    found, own = through_a_server(trained(tmp_path, "default", 150), pictures(8), listed=20)
    assert sum(result["extras"]["level_mass"] for result in found) / len(found) >= 0.9
    for result, score in zip(found, own, strict=True):
        assert result["extras"]["level_mass"] <= score.level_mass + 1e-5
        assert result["extras"]["score_bound"] < 0.1
        assert abs(result["score"] - score.score) <= result["extras"]["score_bound"] + 1e-4
    assert len({round(score.score, 3) for score in own}) > 1


def test_the_papers_form_leaves_the_level_words_little_probability(tmp_path):
    found, own = through_a_server(trained(tmp_path, "paper", 40), pictures(8), listed=20)
    assert max(score.level_mass for score in own) < 0.5
    for result in found:
        refused = isinstance(result, ArtQuantError)
        assert (
            "the level words have a probability of" in str(result) if refused else result["extras"]["score_bound"] > 0
        )
