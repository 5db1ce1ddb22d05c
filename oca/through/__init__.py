"""Pull-through: what is not stored is fetched from one upstream, shared, and kept for a while."""
