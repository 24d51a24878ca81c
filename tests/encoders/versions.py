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
            -1.13825,
            -1.34307,
            -1.31874,
            -1.35330,
            -1.19729,
            -1.25253,
            -1.28691,
            -1.71620,
            0.68180,
        ],
    ),
}
