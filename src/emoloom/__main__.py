"""`python -m emoloom`, the form that `torchrun` and `accelerate launch` can start."""

from emoloom.cli import main

if __name__ == "__main__":
    main()
