"""A host that fails: system calls in turn, and resources that run out."""
