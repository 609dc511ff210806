"""Lets ``--setup_file=./setup.py`` build this package for remote workers; all metadata is in pyproject.toml."""

from setuptools import setup

setup()
