"""Servers on loopback that behave as the real ones: for the demo and the tests."""
