"""Tests of the way over Hypervisor.framework, which a stand-in of the same ABI takes the place of."""
