"""What accelerators can do at most, as their makers state it.

Sources: NVIDIA's data sheets of H100 and H200, A100, L4 and T4, without sparsity;
Google Cloud's pages on TPU v4, v5e, v5p and v6e.
"""

from __future__ import annotations

# Name of the device in JAX -> 10^12 operations per second in float32 without TF32, and
# in bfloat16 with float32 sums. For float32 products of a TPU, which takes several
# passes in bfloat16, Google states no number, and a T4 has no bfloat16 unit.
_PEAKS: dict[str, dict[str, float]] = {
    "NVIDIA H200": {"float32": 67, "bfloat16": 989},
    "NVIDIA H100 80GB HBM3": {"float32": 67, "bfloat16": 989},
    "NVIDIA H100 PCIe": {"float32": 51, "bfloat16": 756},
    "NVIDIA A100-SXM4-80GB": {"float32": 19.5, "bfloat16": 312},
    "NVIDIA A100-SXM4-40GB": {"float32": 19.5, "bfloat16": 312},
    "NVIDIA A100 80GB PCIe": {"float32": 19.5, "bfloat16": 312},
    "NVIDIA A100-PCIE-40GB": {"float32": 19.5, "bfloat16": 312},
    "NVIDIA L4": {"float32": 30.3, "bfloat16": 121},
    "Tesla T4": {"float32": 8.1},
    "TPU v4": {"bfloat16": 275},
    "TPU v5 lite": {"bfloat16": 197},
    "TPU v5": {"bfloat16": 459},
    "TPU v5p": {"bfloat16": 459},
    "TPU v6 lite": {"bfloat16": 918},
}


def peak_operations(device_kind: str, precision: str) -> float | None:
    """The operations per second that a device reaches at most; None if unknown.

    A share of a device, such as an instance of MIG, has another name and is unknown.

    Args:
        device_kind: The name of the device, as `jax.Device.device_kind` states it.
        precision: "float32", which means without TF32, or "bfloat16".
    """
    peak = _PEAKS.get(device_kind, {}).get(precision)
    return None if peak is None else peak * 1e12


def share_of_peak(operations: float, device_kind: str, precision: str) -> str:
    """Operations per second as a table shows them beside the peak: "41 %".

    Args:
        operations: The operations per second that were reached.
        device_kind: The name of the device, see `peak_operations`.
        precision: "float32" or "bfloat16".
    """
    peak = peak_operations(device_kind, precision)
    return "unknown" if peak is None else f"{operations / peak:.0%}".replace("%", " %")
