"""Ten million operations, with failures: nothing may pile up, and nothing may become slow. `make soak`."""
