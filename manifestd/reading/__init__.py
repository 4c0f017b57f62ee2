"""One pass over the bytes: digests, chunks, regions and small bodies; resumed, bounded, journaled."""
