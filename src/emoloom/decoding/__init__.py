"""Decoding: the normative KV-off answer, reached by a cached draft and one verifying forward."""
