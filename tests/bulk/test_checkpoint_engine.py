"""What a checkpoint's scores depend on."""

import json

from artquant_plugin.bulk.checkpoint_engine import CheckpointEngine


def test_the_identity_of_an_adapter_holds_the_files_of_its_base(tmp_path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder in (base, adapter):
        folder.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"before")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    before = CheckpointEngine(str(adapter)).identity()
    assert list(before["base_files"]) == ["config.json", "model.safetensors"]
    (base / "model.safetensors").write_bytes(b"behind")
    after = CheckpointEngine(str(adapter)).identity()
    assert before["files"] == after["files"]
    assert before["base_files"]["model.safetensors"] != after["base_files"]["model.safetensors"]
    named = CheckpointEngine(str(adapter), base=str(base)).identity()
    assert named["base_files"] == after["base_files"]
    assert "base_files" not in CheckpointEngine(str(base)).identity()
