"""Token stores: the cached tokens of one data set split and one encoder."""
