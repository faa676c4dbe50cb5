"""Models that run: texts continued with a cache, scored, and turned into vectors."""
