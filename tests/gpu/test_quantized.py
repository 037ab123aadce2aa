"""QLoRA on a GPU: quantised weights stay as they are, an adapter is trained beside them and scores when loaded."""

import json

import pytest

from artquant_plugin.checkpoint import load_checkpoint
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.metrics.agreement import plcc
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import train
from tests.train.runs import weights, write_config

pytestmark = pytest.mark.gpu

pytest.importorskip("bitsandbytes", reason="needs pip install 'artquant-plugin[quantized]'")


@pytest.mark.parametrize(("bits", "layer"), [("4bit", "Linear4bit"), ("8bit", "Linear8bitLt")])
def test_an_adapter_beside_quantised_weights_is_trained_and_scores_when_loaded(
    bits, layer, data, device, options, tmp_path
):
    from tests.train.test_quantized import QLORA, WIDE

    stages = [{"name": "mat", "samples": ["describe", "score"], "epochs": 1}]
    base = train(load_config(write_config(tmp_path / "base", data, model=WIDE, stages=stages, train=options))).output
    model = {"pretrained": str(base), "quantization": bits}
    given = {"keep": "last", **options}
    output = train(load_config(write_config(tmp_path, data, model=model, trained=QLORA, stages=stages, train=given)))
    assert any(value.any() for name, value in weights(output.output).items() if "lora_B" in name)
    again = load_checkpoint(str(output.output), quantization=bits, dtype="float32", device=device)
    assert again.model.device.type == device
    assert layer in {type(module).__name__ for module in again.model.modules()}
    paintings = Dataset.load(data)
    validation = paintings.split("validation")
    scores = ArtQuantScorer(again, batch_size=8).score([paintings.image_path(painting) for painting in validation])
    record = json.loads((output.output / "training.json").read_text())
    found = plcc([score.score for score in scores], [painting.score for painting in validation])
    assert found == pytest.approx(record["stages"]["mat"]["eval_plcc"], abs=0.02)
