"""Makes the content of every published layout at full size from its manifest."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from unmute_jax.audio.mel import mel_banks, window
from unmute_jax.encoders import with_weights
from unmute_jax.weights.dasheng import MEL
from unmute_jax.weights.encoder_weights import EncoderWeights
from unmute_jax.weights.files import WeightsFile, file_state
from unmute_jax.weights.loading import from_file

_BEATS_TABLE = "relative_attention_bias"
# Outputs of heads whose number the manifest leaves open.
_CLASSES = 527


@dataclasses.dataclass(frozen=True)
class Layout:
    """The content of a published file.

    Attributes:
        name: The name in the table.
        encoder: The encoder's name.
        content: The content as the reader returns it. Arrays that repeat one number
            stand for any numbers.
        is_hub: Whether the file is safetensors with `content["config"]` beside it.
    """

    name: str
    encoder: str
    content: dict[str, Any]
    is_hub: bool = False

    def load(self, path: pathlib.Path | None = None) -> EncoderWeights:
        """The weights that reading such a file returns."""
        path = path or pathlib.Path(__file__)
        file = WeightsFile(path=path, state=file_state(path), content=self.content)
        return from_file(with_weights(self.encoder).ORIGIN, file)


def layouts(*folders: pathlib.Path) -> Iterator[Layout]:
    """Yields the layouts of every manifest in the folders.

    Raises:
        FileNotFoundError: A folder has no manifest.
    """
    for folder in folders:
        files = sorted(folder.glob("*manifest*.json"))
        if not files:
            raise FileNotFoundError(f"no *manifest*.json in {folder}")
        for file in files:
            name = re.sub("_?manifest", "", file.stem)
            manifest = json.loads(file.read_text("utf-8"))
            family = next(f for f in _OF_FAMILY if name.startswith(f))
            yield from _OF_FAMILY[family](name, manifest)


def _eat(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    encoder = name.split("_")[0]
    width = manifest["huggingface_pretrained"]["model.extra_tokens"][2]
    heads = {"num_heads": width // 64}
    for section, shapes in manifest.items():
        tuned = "finetuned" in section
        if not isinstance(shapes, dict) or not section.startswith(("fair", "hugg")):
            continue
        if section.endswith("_ema"):
            continue
        model: dict[str, Any] = _tensors(shapes)
        if section.startswith("huggingface"):
            content = {"model": model, "config": heads}
            yield Layout(f"{name}, {section}", encoder, content, is_hub=True)
            continue
        if not tuned:
            model["_ema"] = _tensors(manifest["fairseq_pretrained__ema"])
        inner = {"pretrained_model_args": {"model": heads}} if tuned else heads
        yield Layout(
            f"{name}, {section}",
            encoder,
            {
                "args": None,
                "cfg": {"model": inner},
                "model": model,
                "criterion": None,
                "optimizer_history": [{"optimizer_name": "composite"}],
                "task_state": {},
                "extra_state": {"epoch": 30},
                "last_optimizer_state": {"state": _tensors({"0": [1000]})},
            },
        )


def _audiomae(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    tensors = _tensors(manifest["keys"])
    beside = {"optimizer": {"state": {}}, "epoch": 31, "scaler": {}, "args": {}}
    yield Layout(f"{name}, training script", "audiomae", {"model": tensors, **beside})
    needed = manifest.get("encoder_keys", manifest["keys"])
    flat = {key: tensors[key] for key in needed}
    yield Layout(f"{name}, copy for timm", "audiomae", flat)


def _asit(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    teacher = _tensors(manifest["keys"])
    content = {
        "student": {f"module.{key}": value for key, value in teacher.items()},
        "teacher": teacher,
        "optimizer": {"state": {}},
        "epoch": 100,
        "args": {},
        "CLS_PATCH_loss": _tensors({"center": [1, 8192], "center2": [1, 1, 8192]}),
    }
    yield Layout(f"{name}, training script", "asit", content)
    heads = {"weak_head.weight": [447, 768], "strong_head.weight": [447, 768]}
    copy = {
        key.replace("backbone.", "model."): teacher[key]
        for key in manifest["encoder_keys"]
    }
    yield Layout(f"{name}, copy by others", "asit", copy | _tensors(heads))


def _beats(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    tensors = _tied(_tensors(manifest["state_dict"]))
    content: dict[str, Any] = {"cfg": manifest["cfg"], "model": tensors}
    if "predictor.weight" in tensors:
        outputs = tensors["predictor.weight"].shape[0]
        content["label_dict"] = {i: f"/m/{i}" for i in range(outputs)}
    yield Layout(f"{name}, unilm", "beats", content)


def _tied(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors with one table of relative positions, which all blocks share."""
    tables = [key for key in tensors if _BEATS_TABLE in key]
    return tensors | dict.fromkeys(tables, tensors[tables[0]])


def _dasheng(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    tensors = _tensors(manifest["state_dict"])
    banks = np.pad(mel_banks(MEL), ((0, 1), (0, 0)))
    tensors["front_end.0.spectrogram.window"] = window(MEL).astype(np.float32)
    tensors["front_end.0.mel_scale.fb"] = banks.astype(np.float32)
    tensors["init_bn.1.num_batches_tracked"] = np.array(7, np.int64)
    config = manifest["constructor_arguments"]
    content = {"model": tensors, "config": config}
    yield Layout(f"{name}, package", "dasheng", content)
    hub = {f"encoder.{k}": v for k, v in tensors.items() if "front_end" not in k}
    content = {"model": hub, "config": {"encoder_kwargs": config}}
    yield Layout(f"{name}, Hugging Face", "dasheng", content, is_hub=True)
    if name == "dasheng_base":
        head = {
            "outputlayer.0.weight": [768],
            "outputlayer.0.bias": [768],
            "outputlayer.1.weight": [527, 768],
            "outputlayer.1.bias": [527],
        }
        yield Layout(f"{name}, fine-tuned", "dasheng", tensors | _tensors(head))


def _ast(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    variants = {"audioset_10_10": {}, **manifest["differs_from_10_10"]}
    for variant, other in variants.items():
        authors = manifest["original"] | other.get("original", {})
        yield Layout(f"{name} {variant}, the authors", "ast", _tensors(authors))
        hub = manifest["huggingface"] | other.get("huggingface", {})
        content = {"model": _tensors(hub), "config": {}}
        yield Layout(f"{name} {variant}, Hugging Face", "ast", content, is_hub=True)


def _aves2(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    for part in ("beats", "eat"):
        tensors = _tensors(manifest[part])
        # The format holds no tensor twice, so the table stands under one block.
        for table in [key for key in tensors if _BEATS_TABLE in key][1:]:
            del tensors[table]
        content = {"model": tensors, "config": {}}
        yield Layout(f"{name}_{part}, avex", f"aves2_{part}", content, is_hub=True)


def _bat(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    heads = manifest["num_heads"]
    student = _tensors(manifest["huggingface"])
    content = {"model": student, "config": {"num_attention_heads": heads}}
    yield Layout(f"{name}, Hugging Face", "bat", content, is_hub=True)
    both = {f"student.encoder.{key}": value for key, value in student.items()}
    both |= {f"teacher.encoder.{key}": value for key, value in student.items()}
    yield Layout(f"{name}, the authors' download", "bat", {"state_dict": both})
    trainer = {"encoder": student, "ema_encoder": dict(student), "optimized_steps": 1}
    trainer["args"] = {"num_heads": heads}
    yield Layout(f"{name}, the authors' trainer", "bat", trainer)


def _bird_mae(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    content = {"model": _tensors(manifest["huggingface"]), "config": {}}
    yield Layout(f"{name}, Hugging Face", "bird_mae", content, is_hub=True)
    for training in ("pretrained", "finetuned"):
        tensors = _tensors(manifest[f"lightning_{training}"])
        content = {"state_dict": tensors, "epoch": 99, "loops": {}}
        yield Layout(f"{name}, Lightning {training}", "bird_mae", content)


def _openbeats(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    encoder = _tied(_tensors(manifest["encoder_keys"]))
    decoder = _tensors(manifest["pretraining_decoder_keys"])
    whole = {f"encoder.{key}": value for key, value in encoder.items()}
    whole |= {f"decoder.{key}": value for key, value in decoder.items()}
    for layout, model in (
        ("pre-trained", encoder),
        ("with its decoder", encoder | decoder),
        ("whole model", whole),
    ):
        content = {"cfg": manifest["cfg"], "model": model}
        yield Layout(f"{name}, {layout}", "openbeats", content)
    tuned = _tied(_tensors(manifest["espnet_finetuned"]))
    yield Layout(f"{name}, ESPnet fine-tuned", "openbeats", tuned)


def _whisper(name: str, manifest: dict[str, Any]) -> Iterator[Layout]:
    dims = manifest["openai_dims"]
    tensors = _tensors(manifest["openai_model_state_dict"])
    content = {"dims": dims, "model_state_dict": tensors}
    yield Layout(f"{name}, OpenAI", "whisper", content)
    config = {"encoder_attention_heads": dims["n_audio_head"]}
    content = {"model": _tensors(manifest["huggingface"]), "config": config}
    yield Layout(f"{name}, Hugging Face", "whisper", content, is_hub=True)


_OF_FAMILY = {
    "asit": _asit,
    "ast": _ast,
    "audiomae": _audiomae,
    "aves2": _aves2,
    "bat": _bat,
    "beats": _beats,
    "bird_mae": _bird_mae,
    "dasheng": _dasheng,
    "eat": _eat,
    "openbeats": _openbeats,
    "sslam": _eat,
    "whisper": _whisper,
}


def _tensors(shapes: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of the given shapes that take no memory; heads have 527 outputs."""
    # A weight norm of zeros would be no number.
    one = np.ones((), np.float32)
    sizes = {
        name: [_CLASSES if isinstance(size, str) else size for size in shape]
        for name, shape in shapes.items()
    }
    return {name: np.broadcast_to(one, shape) for name, shape in sizes.items()}
