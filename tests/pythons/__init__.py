"""The Python tests on the wheel that users install, under each CPython that it is for."""
