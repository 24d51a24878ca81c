"""Poolers of other benchmarks against the reference implementations."""

import numpy as np
import pytest

from tests.probes.golden import (
    HEADS,
    affine,
    cases,
    check_case,
    identity_head,
    read,
    tokens_from,
)
from unmute_jax.probes import make_probe


class Reader:
    """The arrays of one kind, by the names of the reference."""

    def __init__(self, case, kind):
        self._case, self._kind = case, kind

    def vector(self, name):
        return self._case[f"{self._kind}.{name}"].reshape(-1)

    def row(self, name):
        return self.vector(name)[None]

    def map(self, name):
        return self._case[f"{self._kind}.{name}.weight"].T

    def affine(self, name):
        return affine(self._case, f"{self._kind}.{name}")

    def norm(self, ours, name):
        return {
            f"{ours}_scale": self.vector(f"{name}.weight"),
            f"{ours}_bias": self.vector(f"{name}.bias"),
        }

    def keys_and_values(self, name):
        key, value = np.split(self.map(name), 2, axis=1)
        params = {"key": key, "value": value}
        if f"w.{name}.bias" in self._case:
            bias = self.row(f"{name}.bias")
            params["value_bias"] = np.split(bias, 2, axis=1)[1]
        return params

    def mlp(self, name):
        return {
            "mlp_in": self.affine(f"{name}.fc1"),
            "mlp_out": self.affine(f"{name}.fc2"),
        }


def jepa(x):
    block = "cross_attention_block"
    return {
        "query": x.row("query_tokens"),
        "query_map": x.affine(f"{block}.xattn.q"),
        **x.keys_and_values(f"{block}.xattn.kv"),
        "project": x.affine(f"{block}.xattn.proj"),
        **x.norm("token_norm", f"{block}.norm1"),
        **x.norm("answer_norm", f"{block}.norm2"),
        **x.mlp(f"{block}.mlp"),
    }


def cae(x):
    return {
        "query": x.row("query_token"),
        "query_map": x.map("cross_attn.q"),
        "key": x.map("cross_attn.k"),
        "value": x.map("cross_attn.v"),
        "project": x.affine("cross_attn.proj"),
        **x.norm("query_norm", "norm1_q"),
        **x.norm("key_norm", "norm1_k"),
        **x.norm("value_norm", "norm1_v"),
    }


def cait(x):
    block = "blocks_token_only.0"
    return {
        "cls": x.row("cls_token"),
        "query_map": x.affine(f"{block}.attn.q"),
        "key": x.map(f"{block}.attn.k"),
        "value": x.map(f"{block}.attn.v"),
        "value_bias": x.row(f"{block}.attn.v.bias"),
        "project": x.affine(f"{block}.attn.proj"),
        "attention_scale": x.vector(f"{block}.gamma_1"),
        "mlp_scale": x.vector(f"{block}.gamma_2"),
        **x.norm("token_norm", f"{block}.norm1"),
        **x.norm("answer_norm", f"{block}.norm2"),
        **x.norm("last_norm", "norm"),
        **x.mlp(f"{block}.mlp"),
    }


def siglip(x):
    return {
        "query": x.row("latent"),
        "query_map": x.affine("q"),
        **x.keys_and_values("kv"),
        "project": x.affine("proj"),
        **x.mlp("mlp"),
    }


def coca(x):
    d = x.vector("norm.gamma").size
    return {
        "query": x.vector("img_queries")[None, :d],
        "query_norm_scale": x.vector("norm.gamma"),
        "query_map": x.map("to_q"),
        **x.keys_and_values("to_kv"),
        "project": x.map("to_out"),
    }


PARAMS = {f.__name__: f for f in (jepa, cae, cait, siglip, coca)}


@pytest.mark.parametrize("path", cases("x_*.npz"), ids=lambda p: p.stem)
def test_poolers_equal_the_reference(path):
    case, name = read(path), path.stem.split("_")[1]
    width = case["out"].shape[1]

    def params(case, kind):
        params = PARAMS[name](Reader(case, kind))
        return params | ({"classifier": identity_head(width)} if kind == "w" else {})

    probe = make_probe(name, num_classes=width, num_heads=HEADS)
    check_case(probe, case, params, ["tokens"], tokens_from)
