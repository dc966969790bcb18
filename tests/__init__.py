"""The tests; `tests.packets` and `tests.truth` are shared by all tiers."""
