"""Per encoder its version and some numbers of it, for a fixed sound.

They guard the caches: when these numbers change, the version has to change too.
"""

VERSIONS = {
    "eat": (
        1,
        [
            2.33941,
            2.40397,
            2.41684,
            2.28657,
            2.25723,
            2.17829,
            2.20832,
            2.34761,
            1.00000,
        ],
    ),
    "eat+": (
        1,
        [
            2.33941,
            2.40397,
            2.41684,
            2.28657,
            2.25723,
            2.17829,
            2.20832,
            2.34761,
            1.00000,
        ],
    ),
    "logmel": (
        1,
        [
            -0.63825,
            -0.84307,
            -0.81873,
            -0.8533,
            -0.69729,
            -0.75253,
            -0.7869,
            -1.21619,
            0.67567,
        ],
    ),
}
