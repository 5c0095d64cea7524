"""Where the files of the project are, whichever folder a test lies in."""

from pathlib import Path

TESTS = Path(__file__).parents[1]
PROJECT = TESTS.parent
