"""Defines `Tokens`, which an encoder returns for a batch of clips, and `Summary`."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, BFloat16, Bool, Float, Int8, Shaped

from unmute_jax.errors import InputError, one_line
from unmute_jax.ops.arrays import NORM_EPS, Arr


@flax.struct.dataclass
class Tokens:
    """The tokens of B clips.

    Attributes:
        patches: Patch tokens, `[B, T, F, D]`, time first; F = 1 where there is no
            frequency axis.
        cls: Class tokens, `[B, D]`; the mean over patches where the encoder has none.
        mask: Mask of real time steps, `[B, T]`. All are true by default, as in the
            paper.
        inverse_norms: `1 / max(|patch|, 1e-12)` in float32, `[B, T, F]`; None until
            `with_inverse_norms` computes them.
        layers: On request, the output of every block before any final norm, `[B, L, T,
            F, D]`.
        layer_cls: On request, the class token of every block, `[B, L, D]`.
        scales: Scales of patches in int8, `[B, T, F]`: the values are `patches *
            scales`. `floats` computes them, and all computations use its result.
        layer_scales: Scales of layers in int8, `[B, L, T, F]`.
        layer: The layer whose tokens `patches` and `cls` are, from 0; None for what the
            encoder returns after its last layer.
    """

    patches: Shaped[Arr, "B T F D"]
    cls: Shaped[Arr, "B D"]
    mask: Bool[Arr, "B T"]
    inverse_norms: Float[Arr, "B T F"] | None = None
    layers: Shaped[Arr, "B L T F D"] | None = None
    layer_cls: Shaped[Arr, "B L D"] | None = None
    scales: Float[Arr, "B T F"] | None = None
    layer_scales: Float[Arr, "B L T F"] | None = None
    layer: int | None = flax.struct.field(pytree_node=False, default=None)

    @classmethod
    def from_patches(cls, patches: Any, mask: Bool[Any, "B T"] | None = None) -> Tokens:
        """Makes tokens of an array, such as the output of another library's encoder.

            tokens = uj.Tokens.from_patches(array)  # [B, T, D] or [B, T, F, D]
            tokens = uj.Tokens.from_patches(tensor.detach().cpu())  # PyTorch

        The class token of each clip is the mean over its patches, as for an encoder
        that has none.

        Args:
            patches: Patch tokens, shape `[B, T, F, D]`, time first, or `[B, T, D]`
                without a frequency axis: floating-point numbers in an array of NumPy or
                JAX, or in anything that NumPy can read. float64 becomes float32.
            mask: Mask of real time steps, shape `[B, T]`. By default all are real.

        Raises:
            InputError: The shape or the type is another one, or a number is not finite.
        """
        x = _floating(patches)
        if x.ndim == 3:
            x = x[:, :, None]
        if x.ndim != 4 or 0 in x.shape:
            raise InputError(
                "patches must have the shape [B, T, F, D] or [B, T, D], without a 0; "
                f"got {list(np.shape(patches))}"
            )
        real = jnp.ones(x.shape[:2], bool) if mask is None else jnp.asarray(mask)
        if real.shape != x.shape[:2] or real.dtype != bool:
            raise InputError(
                f"mask must have the shape [B, T] = {list(x.shape[:2])} and be of type "
                f"bool; got {list(real.shape)} of {real.dtype}"
            )
        counted = jnp.broadcast_to(real[:, :, None], x.shape[:3])
        # Inside a compiled function there are no numbers to look at yet.
        if not isinstance(x, Tracer):
            is_bad = (~jnp.isfinite(x).all(-1) & counted).any((1, 2))
            if is_bad.any():
                clip = int(is_bad.argmax())
                raise InputError(f"patches of clip {clip} are not finite")
        return cls(patches=x, cls=mean_token(x.astype(jnp.float32), counted), mask=real)

    def with_inverse_norms(self) -> Tokens:
        """The same tokens with `inverse_norms` set."""
        if self.inverse_norms is not None:
            return self
        return dataclasses.replace(self, inverse_norms=inverse_norms(self.patches))

    def of_layer(self, index: int) -> Tokens:
        """The tokens of one layer, in place of those of the last and of all layers.

        Args:
            index: The layer, from 0; negative numbers count from the last layer.

        Raises:
            InputError: These tokens lack those of all layers, or there is no such
                layer.
        """
        if self.layers is None or self.layer_cls is None:
            raise InputError(
                "this probe reads the tokens of another layer than the last: encode "
                "with all_layers=True"
            )
        index, scales = layer_number(index, self.layers.shape[1]), self.layer_scales
        return Tokens(
            patches=self.layers[:, index],
            cls=self.layer_cls[:, index],
            mask=self.mask,
            scales=None if scales is None else scales[:, index],
            layer=index,
        )

    def floats(self) -> Tokens:
        """The same tokens with the values of int8 patches and layers in bfloat16."""
        if self.scales is None:
            return self
        wide: dict[str, Any] = {"patches": dequantise(self.patches, self.scales)}
        if self.layers is not None and self.layer_scales is not None:
            wide["layers"] = dequantise(self.layers, self.layer_scales)
        return dataclasses.replace(self, **wide, scales=None, layer_scales=None)

    def rounded(self, dtype: str) -> Tokens:
        """The tokens as a store in `dtype` returns them.

        Args:
            dtype: One of `store.key.DTYPES`.
        """
        if self.scales is not None:
            # These tokens come from a store in int8, which has rounded them already.
            tokens = self.floats()
            return tokens if dtype == "int8" else tokens.rounded(dtype)
        patches = round_to(self.patches, dtype)
        return dataclasses.replace(
            self,
            patches=patches,
            inverse_norms=inverse_norms(patches),
            layers=None if self.layers is None else round_to(self.layers, dtype),
        )


@flax.struct.dataclass
class Summary:
    """Statistics of the tokens of B clips in float32, without masked time steps.

    Probes that read only these statistics need not load the tokens. Statistics of all
    layers have an axis `[L]` after the first.

    Attributes:
        cls: Class token, `[B, D]`.
        mean: Mean over all patches, `[B, D]`; `max` and `std` likewise.
        band_mean: Mean over time in each frequency patch, `[B, F, D]`; `band_max` and
            `band_std` likewise. Stored statistics of all layers leave them out: F = 0.
    """

    cls: Float[Arr, "B *L D"]
    mean: Float[Arr, "B *L D"]
    max: Float[Arr, "B *L D"]
    std: Float[Arr, "B *L D"]
    band_mean: Float[Arr, "B *L F D"]
    band_max: Float[Arr, "B *L F D"]
    band_std: Float[Arr, "B *L F D"]

    @property
    def is_of_layers(self) -> bool:
        """Whether these are the statistics of all layers."""
        return self.cls.ndim == 3


def _floating(values: Any) -> Array:
    """Converts values to an array of JAX of at most 32 bits.

    Raises:
        InputError: NumPy cannot read them, or they are no floating-point numbers.
    """
    if not isinstance(values, jax.Array):
        try:
            values = np.asarray(values)
        except Exception as error:  # Other libraries raise what they like.
            raise InputError(
                f"patches cannot be read as an array: {one_line(str(error), 200)}"
            ) from error
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise InputError(f"patches must be floating-point numbers; got {values.dtype}")
    return jnp.asarray(values, jnp.float32 if values.dtype == np.float64 else None)


def inverse_norms(patches: Shaped[Arr, "*B D"]) -> Float[Array, "*B"]:
    """Computes `1 / max(|x|, 1e-12)` over the last axis in float32."""
    squares = jnp.square(jnp.asarray(patches).astype(jnp.float32))
    # The maximum comes before the root: otherwise the gradient at a zero token is NaN.
    return 1.0 / jnp.sqrt(jnp.maximum(squares.sum(-1), NORM_EPS**2))


def quantise(
    x: Shaped[Arr, "*B D"],
) -> tuple[Int8[Array, "*B D"], Float[Array, "*B"]]:
    """Converts tokens to int8 with one scale each, so that the largest |x| is 127."""
    x = jnp.asarray(x).astype(jnp.float32)
    scales = jnp.abs(x).max(-1) * np.float32(1 / 127)
    units = x / jnp.where(scales > 0, scales, 1.0)[..., None]
    return jnp.clip(jnp.round(units), -127, 127).astype(jnp.int8), scales


def dequantise(
    x: Int8[Arr, "*B D"], scales: Float[Arr, "*B"]
) -> BFloat16[Array, "*B D"]:
    """Inverts `quantise`, up to half a scale per entry and the rounding of bfloat16."""
    wide = jnp.asarray(x).astype(jnp.float32) * jnp.asarray(scales)[..., None]
    return round_to(wide, "bfloat16")


def round_to(x: Shaped[Arr, "*B D"], dtype: str) -> Shaped[Array, "*B D"]:
    """Rounds `x` as storing it in `dtype` does; the result is float32 or bfloat16."""
    x = jnp.asarray(x)
    if dtype == "int8":
        return dequantise(*quantise(x))
    if dtype == "bfloat16":
        # The compiler may drop a bare cast that is undone for the norms, which would
        # then belong to other tokens than those that are stored.
        x = jax.lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
    return x.astype(dtype)


def mean_token(
    patches: Float[Arr, "B T F D"], mask: Bool[Arr, "B T F"]
) -> Float[Array, "B D"]:
    """The mean over the tokens in `mask`, in place of a missing class token."""
    count = jnp.maximum(mask.sum((1, 2)), 1).astype(jnp.float32)
    counted = jnp.where(jnp.asarray(mask)[..., None], patches, 0.0)
    return counted.sum((1, 2)) / count[:, None]


def summarise(tokens: Tokens) -> Summary:
    """Computes the statistics of tokens; they are 0 for a clip without real steps."""
    x = jnp.asarray(tokens.patches).astype(jnp.float32)
    mean, peak, std = _statistics(x, jnp.asarray(tokens.mask), (1, 2))
    band_mean, band_peak, band_std = _statistics(x, jnp.asarray(tokens.mask), (1,))
    return Summary(
        cls=jnp.asarray(tokens.cls).astype(jnp.float32),
        mean=mean,
        max=peak,
        std=std,
        band_mean=band_mean,
        band_max=band_peak,
        band_std=band_std,
    )


def summarise_layers(tokens: Tokens) -> Summary:
    """Computes the statistics of every layer, as `summarise` does those of the last.

    Raises:
        InputError: The tokens lack those of all layers.
    """
    if tokens.layers is None or tokens.layer_cls is None:
        raise InputError(
            "this probe reads the tokens of every layer: encode with all_layers=True"
        )

    def of_one(patches: Array, cls: Array) -> Summary:
        return summarise(Tokens(patches=patches, cls=cls, mask=tokens.mask))

    layers = jnp.asarray(tokens.layers), jnp.asarray(tokens.layer_cls)
    return jax.vmap(of_one, in_axes=1, out_axes=1)(*layers)


def without_bands(summary: Summary) -> Summary:
    """The statistics as stored ones of all layers are: without frequency bands."""
    bands = ("band_mean", "band_max", "band_std")
    return dataclasses.replace(
        summary, **{name: getattr(summary, name)[..., :0, :] for name in bands}
    )


def layer_number(index: int, layers: int) -> int:
    """The number of a layer from 0.

    Args:
        index: The number of the layer; negative numbers count from the last layer.
        layers: The number of layers.

    Raises:
        InputError: There is no such layer.
    """
    if not -layers <= index < layers:
        raise InputError(
            f"there is no layer {index}: the {layers} layers of the encoder are 0 to "
            f"{layers - 1}, or -{layers} to -1 from the last"
        )
    return index % layers


def _statistics(
    x: Array, mask: Array, axes: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """Mean, maximum and standard deviation of `[B, T, F, D]` over `axes`."""
    real = mask[:, :, None, None]
    weight = jnp.broadcast_to(real, (*x.shape[:3], 1)).astype(jnp.float32)
    count = jnp.maximum(weight.sum(axes, keepdims=True), 1.0)
    mean = jnp.where(real, x, 0.0).sum(axes, keepdims=True) / count
    # In two passes: a mean of squares would lose small deviations from a large mean.
    square = jnp.where(real, jnp.square(x - mean), 0.0).sum(axes, keepdims=True)
    peak = jnp.where(real, x, -jnp.inf).max(axes)
    return (
        mean.squeeze(axes),
        jnp.where(jnp.isfinite(peak), peak, 0.0),
        jnp.sqrt((square / count).squeeze(axes)),
    )
