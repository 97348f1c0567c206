"""The managers: a store, a clock and services around the pure operations."""
