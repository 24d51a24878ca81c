"""The array type of public signatures, and the constant that guards norms."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array

# An array on the host or on a device.
Arr = Array | np.ndarray

# Smallest norm in every L2 normalisation, x / max(|x|, eps); paper section 3.8.
NORM_EPS = 1e-12
