"""The nouns: frozen values without I/O. Everything above this floor speaks in these."""
