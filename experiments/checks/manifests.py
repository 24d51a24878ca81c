"""Converts a random file of every published layout at full size.

python -m experiments.checks.manifests --manifests tests/data/encoders --only dasheng

A manifest lists the names and shapes of the tensors in published files. For each layout
in it, the program writes a file of random numbers and converts it with `unmute convert`
in a process of its own: no tensor may be left over or missing. It prints a Markdown
table. "Anonymous" memory excludes the pages of the mapped file, which the system can
reclaim.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import safetensors.numpy
from absl import flags

from experiments.benchmarks.torch_writer import random_or_own, write_torch_zip
from unmute_jax.audio.mel import mel_banks, window
from unmute_jax.cli import program
from unmute_jax.encoders import with_weights
from unmute_jax.weights.dasheng import MEL
from unmute_jax.weights.encoder_weights import EncoderWeights
from unmute_jax.weights.files import WeightsFile
from unmute_jax.weights.loading import from_file

MANIFESTS = flags.DEFINE_string(
    "manifests", "tests/data/encoders", "The folder of the files *_manifest.json."
)
ONLY = flags.DEFINE_string(
    "only", "", "Convert only layouts whose name contains this text."
)
VERIFY = flags.DEFINE_bool("verify", False, "Let the converter verify its output.")

_COLUMNS = (
    "layout",
    "entries in the file",
    "not used",
    "parameters",
    "file, MB",
    "seconds",
    "peak memory, MB",
    "of that anonymous, MB",
)
_BEATS_TABLE = "relative_attention_bias"


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
        file = WeightsFile(path=path or pathlib.Path(__file__), content=self.content)
        return from_file(with_weights(self.encoder).ORIGIN, file)


def layouts(folder: pathlib.Path) -> Iterator[Layout]:
    """Yields the layouts of every manifest in `folder`.

    Raises:
        FileNotFoundError: The folder has no manifest.
    """
    files = sorted(folder.glob("*_manifest.json"))
    if not files:
        raise FileNotFoundError(f"no *_manifest.json in {folder}")
    for file in files:
        name = file.name.removesuffix("_manifest.json")
        family = re.split("_", name)[0]
        manifest = json.loads(file.read_text("utf-8"))
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
    tensors = _tensors(manifest["state_dict"])
    tables = [key for key in tensors if _BEATS_TABLE in key]
    tensors |= dict.fromkeys(tables, tensors[tables[0]])
    content: dict[str, Any] = {"cfg": manifest["cfg"], "model": tensors}
    if "predictor.weight" in tensors:
        outputs = tensors["predictor.weight"].shape[0]
        content["label_dict"] = {i: f"/m/{i}" for i in range(outputs)}
    yield Layout(f"{name}, unilm", "beats", content)


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


_OF_FAMILY = {
    "asit": _asit,
    "audiomae": _audiomae,
    "beats": _beats,
    "dasheng": _dasheng,
    "eat": _eat,
    "sslam": _eat,
}


def _tensors(shapes: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays of the given shapes that take no memory."""
    zero = np.zeros((), np.float32)
    return {name: np.broadcast_to(zero, shape) for name, shape in shapes.items()}


# Converting ----------------------------------------------------------------------


def main(_: list[str]) -> None:
    """Converts one layout after the other, and exits with code 1 if one fails."""
    print(f"| {' | '.join(_COLUMNS)} |\n|---|{'---:|' * (len(_COLUMNS) - 1)}")
    failed = False
    for layout in layouts(pathlib.Path(MANIFESTS.value)):
        if ONLY.value in layout.name:
            with tempfile.TemporaryDirectory() as folder:
                failed |= not _check(layout, pathlib.Path(folder))
    sys.exit(int(failed))


def _check(layout: Layout, folder: pathlib.Path) -> bool:
    expected = layout.load()
    source, output = _write(layout, folder), folder / "converted.safetensors"
    command = [sys.executable, "-m", "unmute_jax.convert"]
    command += ["--encoder", layout.encoder, "--input", str(source)]
    command += ["--output", str(output), *(["--verify"] if VERIFY.value else [])]
    begin = time.monotonic()
    code, peak, anonymous = _run(command)
    seconds = time.monotonic() - begin
    if code:
        print(f"{layout.name}: the converter exited with code {code}", file=sys.stderr)
        return False
    row = (
        layout.name,
        f"{expected.used + len(expected.ignored):,}",
        f"{len(expected.ignored)}",
        f"{sum(array.size for _, array in expected.leaves()):,}",
        f"{source.stat().st_size / 1e6:,.0f}",
        f"{seconds:.1f}",
        f"{peak:,.0f}",
        f"{anonymous:,.0f}",
    )
    print(f"| {' | '.join(row)} |", flush=True)
    return True


def _write(layout: Layout, folder: pathlib.Path) -> pathlib.Path:
    if not layout.is_hub:
        path = folder / "weights.pt"
        write_torch_zip(path, layout.content)
        return path
    rng = np.random.default_rng(0)
    tensors = {
        name: np.concatenate(
            [chunk.reshape(-1) for chunk in random_or_own(array, rng)]
        ).reshape(array.shape)
        for name, array in layout.content["model"].items()
    }
    path = folder / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    config = json.dumps(layout.content["config"])
    (folder / "config.json").write_text(config, "utf-8")
    return path


def _run(command: list[str]) -> tuple[int, float, float]:
    """The exit code, the peak memory and the peak anonymous memory in MB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # The usage of a child that has ended includes memory of its parent.
    peaks = {"VmHWM": 0, "RssAnon": 0}
    while (code := process.poll()) is None:
        for field in peaks:
            peaks[field] = max(peaks[field], _memory(process.pid, field))
        time.sleep(0.02)
    return code, 1024 * peaks["VmHWM"] / 1e6, 1024 * peaks["RssAnon"] / 1e6


def _memory(pid: int, field: str) -> int:
    """A memory field of a process in KiB; 0 for a process that has ended."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text("ascii")
    except OSError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    with program.command(__doc__) as arguments:
        main(arguments)
