"""The wire: requests of a guest to a dispatcher, and the files that resolvers open for it."""
