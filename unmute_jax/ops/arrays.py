"""What a frozen encoder gives for a batch of clips."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array

Arr = Array | np.ndarray

# Guard of every L2 normalisation x / max(|x|, eps); paper section 3.8.
NORM_EPS = 1e-12
