"""`daxmap doctor`: what this host, and a guest's kernel, can do with daxmap."""
