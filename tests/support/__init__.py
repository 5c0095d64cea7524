"""What the tests of the mapper share: backends under test, a model to compare with, faults to inject."""
