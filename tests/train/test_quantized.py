"""QLoRA on the CPU: quantised weights stay as they are, an adapter is trained beside them."""

import json

import pytest

from artquant_plugin.checkpoint import load_checkpoint, save_checkpoint
from artquant_plugin.common.errors import ArtQuantError
from artquant_plugin.data.dataset import Dataset
from artquant_plugin.metrics.agreement import plcc
from artquant_plugin.scoring.scorer import ArtQuantScorer
from artquant_plugin.train import ArtQuantConfig, ArtQuantTrainer
from artquant_plugin.train.config import load_config
from artquant_plugin.train.run import train
from tests.train.runs import TINY, weights, write_config, write_small

bitsandbytes = pytest.importorskip("bitsandbytes", reason="needs pip install 'artquant-plugin[quantized]'")
QLORA = {
    "language": "lora",
    "vision": "frozen",
    "projector": "frozen",
    "lora": {"rank": 4, "alpha": 8, "dropout": 0.0},
}
WIDE = {"tiny": TINY["tiny"] | {"hidden": 64}}  # 4-bit weights are quantised in blocks of 64


@pytest.mark.parametrize(("bits", "layer"), [("4bit", "Linear4bit"), ("8bit", "Linear8bitLt")])
def test_an_adapter_beside_quantised_weights_is_trained_saved_and_loaded_again(bits, layer, tmp_path):
    data = write_small(tmp_path / "data")
    stages = [{"name": "mat", "samples": ["describe", "score"], "epochs": 1}]
    base = train(load_config(write_config(tmp_path / "base", data, model=WIDE, stages=stages))).output
    model = {"pretrained": str(base), "quantization": bits}
    config = write_config(tmp_path, data, model=model, trained=QLORA, stages=stages, train={"keep": "last"})
    output = train(load_config(config)).output
    assert not (output / "extra_weights.safetensors").exists()
    adapter = weights(output)
    moved = [name for name, value in adapter.items() if "lora_B" in name and value.any()]
    assert len(moved) == len(adapter) / 2 == 8  # of q, k, v, o, gate, up, down, and of the output head
    record = json.loads((output / "training.json").read_text())
    assert record["trained"]["language"] == {
        "trained": 5120,
        "all": 107902,
    }  # with the adapter, of which the head has 446

    again = load_checkpoint(str(output), quantization=bits, dtype="float32", device="cpu")
    assert layer in {type(module).__name__ for module in again.model.modules()}
    paintings = Dataset.load(data)
    validation = paintings.split("validation")
    scores = ArtQuantScorer(again, batch_size=8).score([paintings.image_path(painting) for painting in validation])
    found = plcc([score.score for score in scores], [painting.score for painting in validation])
    assert found == pytest.approx(record["stages"]["mat"]["eval_plcc"], abs=1e-3)


def test_an_adapter_is_trained_on_a_base_that_is_stored_in_4_bits(tmp_path):
    data = write_small(tmp_path / "data")
    stages = [{"name": "sot", "samples": ["score"], "epochs": 1}]
    base = train(load_config(write_config(tmp_path / "base", data, model=WIDE, stages=stages))).output
    stored = tmp_path / "stored"
    checkpoint = load_checkpoint(str(base), quantization="4bit", dtype="float32", device="cpu")
    save_checkpoint(stored, checkpoint.model, checkpoint.processor, checkpoint.spec)
    config = write_config(tmp_path, data, model={"pretrained": str(stored)}, trained=QLORA, stages=stages)
    output = train(load_config(config)).output
    assert any(value.any() for name, value in weights(output).items() if "lora_B" in name)
    with pytest.raises(ArtQuantError, match=r"trained.language is full, but .* is stored quantised \(bitsandbytes\)"):
        train(load_config(write_config(tmp_path / "full", data, model={"pretrained": str(stored)}, stages=stages)))
    trainer = {"args": ArtQuantConfig(output_dir=str(tmp_path / "python"), report_to="none", use_cpu=True)}
    loaded = load_checkpoint(str(stored)).model
    with pytest.raises(ArtQuantError, match="the model is quantised, .* pass a peft_config, or load"):
        ArtQuantTrainer(loaded, **trainer)
    trainer["args"].full_parts = ["projector"]
    with pytest.raises(ArtQuantError, match="full_parts names 'projector', but the model is quantised"):
        ArtQuantTrainer(loaded, **trainer)
