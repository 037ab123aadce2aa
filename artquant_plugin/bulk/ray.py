"""Shards on a Ray cluster, through Ray Data: actors hold the scorer and write their shards themselves."""

import logging
import os
from pathlib import Path
from typing import Any

from artquant_plugin.bulk.inputs import Inputs
from artquant_plugin.bulk.meter import ScoreMeter, ScoreSummary
from artquant_plugin.bulk.output_file import EMPTY, made_from
from artquant_plugin.bulk.rows import ScoringEngine
from artquant_plugin.bulk.shards import (
    Share,
    begin,
    finish,
    folder_to_fill,
    layout,
    parquet_counts,
    score_shard,
    shard_path,
    shards_of,
)
from artquant_plugin.common.errors import ArtQuantError, MachineError
from artquant_plugin.common.run_record import MadeFrom


class ShardScorer:
    """One actor: takes indices of shards, scores them, writes them.

    Args:
        inputs: the images to score; the actor reads them itself, so that none travels through the cluster.
        engine: gives the scores; its model is loaded at the first shard and kept.
        out: the folder, on storage that all machines share.
        shard_size: rows per shard, from 1.
        now: what the run computes, for the shards' journals.
        folder: the working folder of the command, in which relative paths are meant.
    """

    def __init__(
        self, inputs: Inputs, engine: ScoringEngine, out: str, shard_size: int, now: MadeFrom, folder: str
    ) -> None:
        os.chdir(folder)
        self.inputs = inputs
        self.engine = engine
        self.out = Path(out)
        self.shard_size = shard_size
        self.now = now
        self._rewind()

    def _rewind(self) -> None:
        self._shards = shards_of(self.inputs, self.shard_size, self.out, Share())
        self._position = 0  # the shard that comes next

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Score shards.

        Args:
            batch: ``index``, an array of shard numbers.

        Returns:
            The same, with ``error``: a message of ours, or an empty text.
        """
        errors = []
        for index in batch["index"]:
            try:
                self._score(int(index))
                errors.append("")
            except (ArtQuantError, MachineError) as error:
                errors.append(str(error))  # one line for the user, instead of the cluster's trace
        return {"index": batch["index"], "error": errors}

    def _score(self, index: int) -> None:
        # Indices rise as a rule, so that the inputs are read once; what stands between is passed over.
        if index < self._position:
            self._rewind()
        for found, references in self._shards:
            self._position = found + 1
            if found == index:
                score_shard(self.out, index, self.now, self.engine, references, ScoreMeter(None, show=False))
                return


def score_on_ray(
    inputs: Inputs,
    engine: ScoringEngine,
    out: Path,
    *,
    shard_size: int,
    actors: int | None = None,
    overwrite: bool = False,
) -> ScoreSummary:
    """Score into a folder of shards on the cluster that this machine belongs to, or on this machine alone.

    The shards are those that `artquant_plugin.bulk.shards.score_to_folder` writes, and either can go on with the
    other's.

    Args:
        inputs: the images to score; their paths must mean the same on every machine.
        engine: the checkpoint that each worker loads to give the scores.
        out: the folder, on storage that all machines share.
        shard_size: rows per shard, from 1.
        actors: number of scorers, from 1; None takes one per GPU of the cluster, or one where it has no GPU. There are
            never more than shards to make.
        overwrite: compute everything again, and replace earlier results when all of it is there.

    Raises:
        ArtQuantError: Ray is not installed, or whatever stops
            `artquant_plugin.bulk.shards.score_to_folder`.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ArtQuantError(
            f"--engine ray needs Ray ({error}); install it with `pip install 'artquant-plugin[ray]'`"
        ) from error

    out = out.absolute()
    now = made_from(inputs, engine, layout(inputs, shard_size))
    with folder_to_fill(out, now, overwrite=overwrite, share=Share()) as folder:
        finished = begin(folder, now)
        if finished is not None:
            return finished
        shards = count_shards(inputs, shard_size)
        if not shards:
            raise ArtQuantError(EMPTY)
        total = inputs.count()
        meter = ScoreMeter(total, show=True)
        open_shards = []
        for index in range(shards):
            if shard_path(folder, index).is_file():
                meter.earlier(*parquet_counts(shard_path(folder, index)))
            else:
                open_shards.append(index)
        if open_shards:
            if not ray.is_initialized():
                ray.init(log_to_driver=False, logging_level=logging.WARNING)
            gpus = int(ray.cluster_resources().get("GPU", 0))
            actors = min(actors or max(gpus, 1), len(open_shards))
            logging.getLogger("ray.data").setLevel(logging.WARNING)  # our own bar shows the progress
            ray.data.DataContext.get_current().enable_progress_bars = False
            tasks = ray.data.from_items(
                [{"index": index} for index in open_shards], override_num_blocks=len(open_shards)
            )
            results = tasks.map_batches(
                ShardScorer,
                fn_constructor_args=(inputs, engine, str(folder), shard_size, now, str(Path.cwd())),
                batch_size=1,
                compute=ray.data.ActorPoolStrategy(size=actors),
                num_gpus=1 if gpus else 0,
            )
            for row in results.iter_rows():
                if row["error"]:
                    raise ArtQuantError(row["error"])
                meter.computed(*parquet_counts(shard_path(folder, row["index"])))
        finish(folder, shards)
        return meter.close()


def count_shards(inputs: Inputs, shard_size: int) -> int:
    """Number of shards of the inputs.

    Args:
        inputs: what to score; they are read once where their number of images is not cheap to know.
        shard_size: rows per shard, where shards do not follow the input's own files.
    """
    if inputs.file_per_shard:
        return len(inputs.sources)
    rows = inputs.count()
    if rows is None:
        rows = sum(1 for _ in inputs.references())
    return -(-rows // shard_size)
