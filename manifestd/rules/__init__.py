"""Verbs without I/O: compare, policy, quorum, merkle, mapping."""
