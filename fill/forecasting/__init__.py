"""What will be asked for: decay curves, boosted quantile trees, and how wrong they are. Pure."""
