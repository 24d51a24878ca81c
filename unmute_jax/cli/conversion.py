"""Converts, lists and describes weights as the options of `unmute convert` say."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import numpy as np

from unmute_jax.encoders import list_encoders, load_encoder, with_weights
from unmute_jax.encoders.base import Encoder
from unmute_jax.encoders.conversion import EncoderModule, convert
from unmute_jax.errors import InputError
from unmute_jax.io import cache_dir
from unmute_jax.weights import loading, published
from unmute_jax.weights.files import read_weights
from unmute_jax.weights.inspection import describe_file, describe_weights

SIGNAL_SECONDS = 10


def main(args: argparse.Namespace) -> None:
    """Does what the parsed arguments of `unmute convert` ask for."""
    if args.list:
        _list([args.encoder] if args.encoder else _names())
        return
    if args.info:
        _info(args)
        return
    if args.encoder is None:
        raise InputError(
            "--encoder is missing: give the name of the encoder, see --help"
        )
    module = with_weights(args.encoder)
    if args.output is None and not args.verify:
        raise InputError(
            "--output is missing: give --output FILE.safetensors, or --verify alone"
        )
    source = published.find_weights(args.encoder, args.input)
    if args.output is not None:
        _check_output(args.output, source, overwrite=args.overwrite)
        _write(args, module, source)
        print(f"wrote {args.output}, {args.output.stat().st_size:,} bytes")
    if args.verify:
        _verify(args, module, source)


def _write(
    args: argparse.Namespace, module: EncoderModule, source: pathlib.Path
) -> None:
    weights = convert(module, source, args.output, args.num_heads)
    print("\n".join(describe_weights(module.ORIGIN, weights)))


def _names() -> list[str]:
    return [name for name in list_encoders() if name != "logmel"]


def _list(names: list[str]) -> None:
    origins = {m.ORIGIN.name: m.ORIGIN for m in map(with_weights, names)}
    for name, origin in origins.items():
        print(f"{name}: {origin.citation}; {origin.code}")
        for line in published.listing(name):
            print(line)
    print(
        f"put weights that you download yourself into {cache_dir('weights')} as NAME.pt"
    )


def _check_output(
    output: pathlib.Path, source: pathlib.Path, *, overwrite: bool
) -> None:
    if output.suffix != ".safetensors":
        raise InputError(f"--output must end in .safetensors, unlike {output}")
    read = source / "model.safetensors" if source.is_dir() else source
    if output.exists() and (output.is_dir() or output.samefile(read)):
        raise InputError(f"--output {output} is a folder, or the input itself")
    if output.exists() and not overwrite:
        raise InputError(f"{output} already exists: --overwrite replaces it")


def _info(args: argparse.Namespace) -> None:
    if args.input is None:
        raise InputError("--input is missing: give the file to describe")
    names = [args.encoder] if args.encoder else _names()
    origins = {m.ORIGIN.title: m.ORIGIN for m in map(with_weights, names)}
    source = published.find_weights(names[0], args.input)
    for line in describe_file(read_weights(source), origins.values()):
        print(line)


# Verification ------------------------------------------------------------------


def _verify(
    args: argparse.Namespace, module: EncoderModule, source: pathlib.Path
) -> None:
    if args.output is not None:
        count = _compare(args, module, source)
        print(f"verified: {count} tensors read back, equal to the input bit by bit")
    encoder = load_encoder(
        args.encoder, args.output or source, num_heads=args.num_heads
    )
    for line in token_statistics(encoder):
        print(line)


def _compare(
    args: argparse.Namespace, module: EncoderModule, source: pathlib.Path
) -> int:
    """Checks that both files hold the same parameters, and returns their number."""
    theirs, ours = (
        loading.from_file(module.ORIGIN, read_weights(file), args.num_heads)
        for file in (source, args.output)
    )
    if theirs.identity != ours.identity or theirs.sizes != ours.sizes:
        raise InputError(f"{args.output} is not what was written: the disk may be bad")
    written = dict(ours.leaves())
    for path, array in theirs.leaves():
        want = np.ascontiguousarray(array, np.float32)
        if written.pop(path).tobytes() != want.tobytes():
            name = ".".join(path)
            raise InputError(f"{args.output}: {name} is not what was written")
    if written:
        raise InputError(f"{args.output} holds more than was written")
    return len(dict(ours.leaves()))


def token_statistics(encoder: Encoder) -> list[str]:
    """Statistics of the tokens of the built-in signal, which people can compare."""
    tokens = encoder(built_in_signal(encoder.sample_rate)[None])
    patches, cls = np.asarray(tokens.patches)[0], np.asarray(tokens.cls)[0]
    t, f, d = patches.shape
    entries = [(0, 0, 0), (t // 2, f // 2, d // 2), (t - 1, f - 1, d - 1)]
    named = [f"[{i}, {j}, {k}] {patches[i, j, k]:.5f}" for i, j, k in entries]
    first = ", ".join(f"{value:.5f}" for value in cls[:3])
    return [
        f"tokens of the built-in signal, {t} x {f} x {d}:",
        *_statistics("patches", patches),
        f"  {', '.join(named)}",
        *_statistics("cls", cls),
        f"  cls begins {first}",
    ]


def _statistics(what: str, x: np.ndarray) -> list[str]:
    values: dict[str, Any] = {
        "mean": x.mean(dtype=np.float64),
        "std": x.std(dtype=np.float64),
        "min": x.min(),
        "max": x.max(),
    }
    told = ", ".join(f"{name} {value:.5f}" for name, value in values.items())
    return [f"  {what}: {told}"]


def built_in_signal(sample_rate: int) -> np.ndarray:
    """Ten seconds of a rising tone in noise, `[S]` float32.

    The signal is computed in integers, so it is the same on every machine.
    """
    n = np.arange(SIGNAL_SECONDS * sample_rate, dtype=np.int64)
    # From 0 to 4 kHz: the phase, in 2^-32 turns, grows with the square of time.
    turn = 1 << 32
    rise = 4000 * turn // (2 * SIGNAL_SECONDS * sample_rate**2)
    tone = np.abs(n * n * rise % turn - turn // 2) - turn // 4
    # The finalizer of MurmurHash3, over the number of the sample.
    bits = n.astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        bits = (bits ^ bits >> np.uint32(shift)) * np.uint32(factor)
    noise = bits.view(np.int32).astype(np.int64) // 8
    return ((tone + noise) >> 16).astype(np.float32) / np.float32(1 << 15)
