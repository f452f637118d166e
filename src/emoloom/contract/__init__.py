"""The JSON contract, version 1: labels, the one renderer, the parser. No model code in here."""
