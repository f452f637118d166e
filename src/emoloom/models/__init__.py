"""Candidates: naming, fetching, dequantising once, loading, and the codec between text and token ids."""
