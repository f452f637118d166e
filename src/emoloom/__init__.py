"""emoloom: screen small language models for emotion and Valence-Arousal-Dominance."""

__version__ = "0.1.0"
