"""`python -m lowlight`, which torchrun and `accelerate launch` can start."""

from .cli import main

if __name__ == "__main__":
    main()
