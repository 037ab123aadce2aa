"""Which tasks the end of a training names."""

import json

import pytest

from artquant_plugin.train.record import RunSummary


@pytest.mark.parametrize(("tasks", "named"), [(("mine", "baid"), "mine,baid"), ((), "artquant")])
def test_the_command_names_the_tasks_of_the_training_data_or_else_the_published_ones(tasks, named, tmp_path):
    assert f" --tasks {named} --batch_size" in RunSummary(tmp_path, tasks, (), 0, 1.0).command


@pytest.mark.parametrize(
    ("content", "tasks"),
    [({"tasks": ["mine"], "data": {"artquant_demo": {}}}, ("mine",)), ({"data": {"baid": {}, "mine": {}}}, ("baid",))],
    ids=["record", "record of an earlier release"],
)
def test_a_finished_run_still_names_its_tasks(content, tasks, tmp_path):
    record = {"config": {}, "stages": {}, "skipped": {}, "seconds": 1.0, **content}
    (tmp_path / "training.json").write_text(json.dumps(record))
    assert RunSummary.load(tmp_path).tasks == tasks


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((0.7, 0.6512), ["stage sot made the validation SROCC worse, by 0.049 against stage mat; lower its "]),
        ((0.7, 0.6996), []),  # 0.700 in print, as before
        ((0.6, 0.7), []),
    ],
)
def test_a_stage_that_made_the_validation_worse_is_named(values, said, tmp_path):
    stages = tuple((name, {"eval_srocc": value}) for name, value in zip(("mat", "sot"), values, strict=True))
    lines = RunSummary(tmp_path, (), (*stages[:1], ("none", {}), *stages[1:]), 0, 1.0).lines()
    found = [line for line in lines if "worse" in line]
    assert [line[: len(start)] for line, start in zip(found, said, strict=True)] == said
