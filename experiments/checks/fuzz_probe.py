"""Damaged files of trained probes, one-bit probes and exported tokens for `fuzz`."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import io
import json
import pathlib
import tempfile
from typing import Any

import jax
import numpy as np
import safetensors.numpy

from experiments.checks import mutated_json
from experiments.checks.fuzz_cases import Case, judge
from experiments.checks.mutated_safetensors import (
    change_entry,
    change_header,
    change_tensors,
)
from experiments.checks.mutations import mutate
from unmute_jax.encoders import load_encoder
from unmute_jax.encoders.exported import FACTS, ExportedTokens, sealed
from unmute_jax.errors import InputError
from unmute_jax.inference import one_bit
from unmute_jax.inference.export import export_probe, load_exported
from unmute_jax.probes import make_probe
from unmute_jax.results.trained import TrainedProbe, load_trained, write_trained
from unmute_jax.store.key import as_json
from unmute_jax.store.normaliser import FeatureNormaliser
from unmute_jax.tokens import Tokens, summarise
from unmute_jax.weights.digests import sha256_of_json

# Sizes of the tokens: T, F, D.
_GRID = (4, 3, 6)
_CLASSES = ("ash", "birch", "cedar")
# Entries of the metadata that hold JSON.
_ENTRIES = {"trained": "unmute_jax", "one-bit": "one_bit", "tokens": "ids"}


@functools.cache
def originals() -> dict[str, dict[str, bytes]]:
    """Returns the files of each kind before they are damaged, by their names."""
    linear = _trained("linear", is_normalised=False)
    protobin = _trained("protobin", is_normalised=True)
    return {
        "trained linear": _saved(linear),
        "trained protobin": _saved(protobin),
        "trained mhca": _saved(_trained("mhca", is_normalised=True, num_heads=2)),
        "trained linear, version 1": _saved(linear, version=1),
        "one-bit float16": _exported(protobin, "float16"),
        "one-bit int8": _exported(protobin, "int8"),
        "one-bit int8, version 1": _exported(protobin, "int8", version=1),
        "tokens": _tokens_folder(".npz", is_sealed=True),
        "tokens of others, npz": _tokens_folder(".npz"),
        "tokens of others, safetensors": _tokens_folder(".safetensors"),
    }


def _tokens() -> Tokens:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, *_GRID)).astype(np.float32)
    mask = np.ones((2, _GRID[0]), bool)
    mask[1, 2:] = False
    return Tokens(patches=x, cls=x.mean((1, 2)), mask=mask)


def _trained(name: str, *, is_normalised: bool, **options: Any) -> TrainedProbe:
    probe = make_probe(name, num_classes=len(_CLASSES), **options)
    encoder = load_encoder("logmel")
    params = jax.jit(probe.init)(jax.random.key(1), _tokens())["params"]
    return TrainedProbe(
        name=name,
        options=options,
        params=jax.device_get(params),
        normaliser=_normaliser() if is_normalised else None,
        classes=_CLASSES,
        task="multi-label",
        encoder=as_json(encoder.identity()),
        encoder_description=encoder.description,
        geometry=dataclasses.replace(
            encoder.geometry,
            frequency_edges_hz=((0.0, 500.0), (500.0, 2e3), (2e3, 8e3)),
        ),
        dtype="bfloat16",
        dataset="trees",
        protocol="official split",
        clip_seconds=1.0,
        seed=0,
        validation=0.5,
        settings={"dataset": "trees", "labels": "clip", "epochs": 3},
    )


def _normaliser() -> FeatureNormaliser:
    mean = jax.tree.map(lambda x: np.asarray(x[:1]), summarise(_tokens()))
    return FeatureNormaliser(
        summary_mean=mean,
        summary_sd=jax.tree.map(lambda x: np.ones_like(x) * 2, mean),
        token_mean=np.linspace(-1, 1, _GRID[2], dtype=np.float32),
        token_sd=np.linspace(0.5, 2, _GRID[2], dtype=np.float32),
    )


def _saved(trained: TrainedProbe, version: int = 2) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        content = write_trained(f"{folder}/probe", trained).read_bytes()
    if version == 1:
        content = _without_digest(content, _ENTRIES["trained"])
    return {"probe.safetensors": content}


def _exported(trained: TrainedProbe, dense: str, version: int = 2) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "probe.safetensors")
        export_probe(trained, path, dense=dense)
        content = path.read_bytes()
    if version == 1:
        content = _without_digest(content, _ENTRIES["one-bit"])
    return {"probe.safetensors": content}


def _without_digest(data: bytes, entry: str) -> bytes:
    """Returns a file as the first version of its format was."""
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][entry])
    about = {k: v for k, v in about.items() if k != "layers"} | {"format": 1}
    tensors = safetensors.numpy.load(data)
    return safetensors.numpy.save(tensors, {entry: json.dumps(about)})


def _tokens_folder(suffix: str, *, is_sealed: bool = False) -> dict[str, bytes]:
    tokens = _tokens()
    facts: dict[str, Any] = {"name": "my model", "seconds_per_step": 0.16}
    facts["frequency_edges_hz"] = [[0, 500], [500, 2000], [2000, 8000]]
    arrays: dict[str, Any] = {
        k: np.asarray(getattr(tokens, k)) for k in ("patches", "cls", "mask")
    }
    ids = ["clip 0", "clip 1"]
    if suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, ids=np.array(ids), **arrays)
        content = buffer.getvalue()
    else:
        content = safetensors.numpy.save(arrays, {"ids": json.dumps(ids)})
    name = f"train_00000{suffix}"
    if is_sealed:
        facts = sealed(facts, {name: hashlib.sha256(content).hexdigest()})
    return {name: content, FACTS: json.dumps(facts).encode()}


def prepare() -> None:
    """Reads the undamaged files."""
    for kind in originals():
        _meaning(kind)


def make(rng: np.random.Generator) -> Case:
    """Makes a damaged file.

    Args:
        rng: The source of all choices.
    """
    kinds = list(originals())
    kind = kinds[int(rng.integers(len(kinds)))]
    files = dict(originals()[kind])
    # Version 1 has no digests, and other programs write none.
    has_digest = "version 1" not in kind and "others" not in kind
    name = str(rng.choice(list(files)))
    choice = str(rng.choice(["bytes", "header", "sealed", "parts"]))
    is_sealed = False
    if name == FACTS:
        is_sealed = has_digest and rng.random() < 0.5
        mutation, facts = mutated_json.change(json.loads(files[name]), rng)
        files[name] = _sealed(facts) if is_sealed else mutated_json.encode(facts)
    elif choice == "bytes" or name.endswith(".npz"):
        others = [files[name], *(next(iter(x.values())) for x in _all())]
        mutation, files[name] = mutate(others, 0, rng)
    elif choice == "header":
        mutation, files[name] = change_header(files[name], rng)
    else:
        is_sealed = choice == "sealed"
        entry = _ENTRIES[_family(kind)]
        if rng.random() < 0.5:
            changed = change_entry(files[name], entry, rng, sealed=is_sealed)
        else:
            changed = change_tensors(files[name], rng, sealed=is_sealed)
        mutation, files[name] = changed
    return Case(
        kind=kind,
        mutation=f"{mutation}, digest anew" if is_sealed and has_digest else mutation,
        files=files,
        may_differ=is_sealed or not has_digest,
    )


def _family(kind: str) -> str:
    return kind.replace(",", " ").split()[0]


def _sealed(facts: Any) -> bytes:
    """Returns a description of tokens with a digest that fits."""
    content = {k: v for k, v in facts.items() if k != "digest"}
    text = mutated_json.encode(content)
    try:
        digest = sha256_of_json(json.loads(text))
    except (ValueError, RecursionError):
        return text
    return text[:-1] + f', "digest": "{digest}"}}'.encode()


def _all() -> list[dict[str, bytes]]:
    return list(originals().values())


def check(folder: pathlib.Path, kind: str, may_differ: bool) -> str:
    """Reads a file and uses it.

    Args:
        folder: Folder of the case.
        kind: The field of `Case`.
        may_differ: The field of `Case`.

    Returns:
        The outcome in words.

    Raises:
        AssertionError: See `judge`.
    """
    read = functools.partial(_READERS[_family(kind)], folder)
    return judge(folder, read, _meaning(kind), may_differ)


@functools.cache
def _meaning(kind: str) -> Any:
    """What is read of an undamaged file."""
    with tempfile.TemporaryDirectory() as outside:
        folder = pathlib.Path(outside, "folder")
        Case(kind=kind, mutation="none", files=originals()[kind]).write(folder)
        return _READERS[_family(kind)](folder)


def _read_trained(folder: pathlib.Path) -> Any:
    trained = load_trained(folder / "probe.safetensors")
    return _used(trained, folder)


def _used(trained: TrainedProbe, folder: pathlib.Path) -> Any:
    """What is in a probe, and what it makes of tokens."""
    values = {f.name: getattr(trained, f.name) for f in dataclasses.fields(trained)}
    values["params"] = jax.tree.map(np.asarray, values["params"])
    for name in ("geometry", "normaliser"):
        value = values[name]
        values[name] = None if value is None else dataclasses.asdict(value)
    try:
        values["logits"] = np.asarray(trained.logits(_tokens()))
    except InputError as error:
        # The message names the probe instead of its file, which is known by then.
        raise InputError(f"{folder}: {error}") from error
    return values


def _read_one_bit(folder: pathlib.Path) -> Any:
    path, tokens = folder / "probe.safetensors", _tokens()
    try:
        probe = one_bit.load(path)
        scores = [probe(x, m) for x, m in zip(*_clips(tokens), strict=True)]
    except ValueError as error:
        raise _refusal(error, path) from error
    exported = _used(load_exported(path), folder)
    return {"scores": scores, "about": probe.about, **exported}


def _refusal(error: ValueError, path: pathlib.Path) -> InputError:
    """The refusal of a reader that is for devices without the rest of the library."""
    if type(error) is not ValueError:
        raise error
    try:
        load_exported(path).logits(_tokens())
    except InputError:
        return InputError(f"{path}: {str(error).removeprefix(str(path))}")
    raise AssertionError(f"one_bit refuses it ({error}), load_exported does not")


def _clips(tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(tokens.patches), np.asarray(tokens.mask)


def _read_tokens(folder: pathlib.Path) -> Any:
    source = ExportedTokens.open(folder)
    source.check_clips(["clip 0", "clip 1"], f"the clips of {folder}")
    tokens = source.read(["clip 1", "clip 0"])
    return {
        "name": source.name,
        "geometry": dataclasses.asdict(source.geometry),
        **{k: np.asarray(getattr(tokens, k)) for k in ("patches", "cls", "mask")},
    }


_READERS = {"trained": _read_trained, "one-bit": _read_one_bit, "tokens": _read_tokens}
