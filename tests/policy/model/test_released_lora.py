"""Released LoRA checkpoints: merged as peft computes them, and pickles only where the user names the file."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tests.policy.model.released_samples import (
    Released,
    make_released,
    released_json,
    train_small_tokenizer,
    write_tower,
)
from tests.policy.model.test_released import MOST, difference

from spatialbot_policy.errors import CheckpointError
from spatialbot_policy.model.released import import_released

TARGETS = {
    "bunny-phi": ["q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"],
    "bunny-qwen2": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
OTHERS, ADAPTER = "non_lora_trainables.bin", "adapter_model.bin"


class Parts:
    """The directories of a LoRA checkpoint, and the model that they make: the adapter beside its base."""

    def __init__(self, place: Path, kind: str = "bunny-phi", unfrozen_tower: bool = False) -> None:
        rows = len(train_small_tokenizer()) + 9  # more than tokens, as Phi-2 and Qwen1.5 were published
        self.released: Released = make_released(kind, rows=rows)
        self.source, self.base = place / "spatialbot-lora", place / "base"
        language = self.released.language
        language.save_pretrained(self.base)
        if kind == "bunny-phi":  # which the released code leaves out
            path = self.base / "model.safetensors"
            save_file(load_file(path) | {"lm_head.bias": torch.ones(rows)}, path, metadata={"format": "pt"})
        self.released.tokenizer.save_pretrained(self.base)
        adapted = get_peft_model(
            language, LoraConfig(r=4, lora_alpha=12, target_modules=TARGETS[kind], task_type="CAUSAL_LM")
        )
        self._randomise(adapted)
        adapted.save_pretrained(self.source)
        self.released.language = adapted.eval()
        config = released_json(self.released, rows)
        (self.source / "config.json").write_text(json.dumps(config))
        self.others = {
            f"base_model.model.model.mm_projector.{name}": tensor
            for name, tensor in self.released.projector.state_dict().items()
        }
        self.tower = write_tower(place / "tower", self.released)
        if unfrozen_tower:
            torch.nn.init.normal_(self.released.vision.encoder.layers[0].mlp.fc1.weight, std=0.2)
            for name, tensor in self.released.vision.state_dict().items():
                if not name.startswith(("encoder.layers.2.", "head.")):
                    key = f"base_model.model.model.vision_tower.vision_tower.vision_model.{name}"
                    self.others[key] = tensor
        torch.save(self.others, self.source / OTHERS)

    @staticmethod
    def _randomise(adapted: PeftModel) -> None:
        """Large enough to be seen, small enough that float32's rounding does not grow to what is compared."""
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.1)

    def load(self, out: Path, *allowed: Path) -> None:
        import_released(
            self.source,
            out,
            base=self.base,
            vision_tower=self.tower,
            allow_pickle=allowed or (self.source / OTHERS,),
        )


@pytest.mark.parametrize("kind", list(TARGETS))
def test_logits_equal_those_of_the_adapter_beside_its_base(kind: str, tmp_path: Path) -> None:
    parts = Parts(tmp_path, kind)
    parts.load(tmp_path / "out")
    assert difference(parts.released, tmp_path / "out") < MOST
    with parts.released.language.disable_adapter():
        assert difference(parts.released, tmp_path / "out") > 1, "the adapter changes nothing"


def test_a_tower_that_was_trained_too_takes_the_place_of_the_published_one(tmp_path: Path) -> None:
    parts = Parts(tmp_path, unfrozen_tower=True)
    parts.load(tmp_path / "out")
    assert difference(parts.released, tmp_path / "out") < MOST


def test_no_pickle_is_opened_unless_that_very_file_is_named(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    adapter = load_file(parts.source / "adapter_model.safetensors")
    torch.save(adapter, parts.source / ADAPTER)
    (parts.source / "adapter_model.safetensors").unlink()
    others, pickled = parts.source / OTHERS, parts.source / ADAPTER
    for allowed, refused in (((), others), ((pickled,), others), ((others,), pickled)):
        with pytest.raises(CheckpointError, match=rf"{re.escape(str(refused))} is a pickle.*--allow-pickle"):
            import_released(
                parts.source,
                tmp_path / "out",
                base=parts.base,
                vision_tower=parts.tower,
                allow_pickle=allowed,
            )
        assert not (tmp_path / "out").exists()
    parts.load(tmp_path / "out", others, pickled)
    assert difference(parts.released, tmp_path / "out") < MOST


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = str(place)

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.place,)


@pytest.mark.parametrize("named", [False, True])
def test_a_pickle_that_runs_code_does_not_run(named: bool, tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    file, trace = parts.source / OTHERS, tmp_path / "ran"
    file.write_bytes(pickle.dumps({"model.mm_projector.0.weight": Bomb(trace)}, protocol=2))
    with pytest.raises(CheckpointError, match="holds no plain tensors" if named else "is a pickle"):
        import_released(
            parts.source, tmp_path / "out", base=parts.base, vision_tower=parts.tower,
            allow_pickle=[file] if named else [],
        )  # fmt: skip
    assert not trace.exists()


def test_permission_for_a_file_that_is_not_read_is_refused(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    stray = tmp_path / "stray.bin"
    torch.save({}, stray)
    with pytest.raises(CheckpointError, match=r"names .*stray.bin, but the import does not read that"):
        parts.load(tmp_path / "out", parts.source / OTHERS, stray)
    with pytest.raises(CheckpointError, match=r"names .*absent.bin, which is no file"):
        parts.load(tmp_path / "out", tmp_path / "absent.bin")


def test_base_and_adapter_must_belong_together(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    with pytest.raises(CheckpointError, match="adapter; give the language model under it as --base"):
        import_released(parts.source, tmp_path / "out", vision_tower=parts.tower)
    file = parts.source / "adapter_model.safetensors"
    adapter = load_file(file)
    first = sorted(adapter)[0]
    save_file({name: tensor for name, tensor in adapter.items() if name != first}, file)
    with pytest.raises(CheckpointError, match=r"does not fit its base: model.layers.0"):
        parts.load(tmp_path / "out")
    save_file({**adapter, first: torch.zeros(4, 5)}, file)
    with pytest.raises(CheckpointError, match=r"factors \(48, 4\) and \(4, 5\) for model.layers.0.mlp.fc1"):
        parts.load(tmp_path / "out")
    save_file({**adapter, "base_model.model.model.extra.lora_A.weight": torch.zeros(4, 5)}, file)
    with pytest.raises(CheckpointError, match=r"does not fit its base: model.extra"):
        parts.load(tmp_path / "out")


@pytest.mark.parametrize("change", [{"use_dora": True}, {"bias": "all"}, {"modules_to_save": ["lm_head"]}])
def test_other_forms_of_adapters_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    file = parts.source / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(CheckpointError, match=f"asks for .*{next(iter(change))}.*merge it with peft"):
        parts.load(tmp_path / "out")
