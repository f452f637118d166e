"""Commands that measure the product itself."""
