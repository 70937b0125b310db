"""`python -m distill` is the same as `distill`."""

from distill.cli import run

if __name__ == "__main__":
    run()
