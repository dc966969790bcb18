"""The independent truth: what other decoders say of the same packets."""
