"""Hypervisors and backends that are the VMM's own Python objects: their calls, their faults, their lifetime."""
