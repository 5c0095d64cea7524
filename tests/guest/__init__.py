"""Guests that run machine code, on KVM and on unicorn."""
