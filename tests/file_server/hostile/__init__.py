"""The file server: a guest that sends anything, a host that moves things, and what the guest is told of files."""
