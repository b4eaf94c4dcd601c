"""`python -m clear_pipeline`."""

from clear_pipeline.cli import main

if __name__ == "__main__":
    main()
