"""``python -m deepo_beam`` is the ``deepo-beam`` command."""

from deepo_beam.cli import main

if __name__ == "__main__":
    main()
