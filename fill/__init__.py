"""fill, the nightly planner: what people will watch tomorrow, placed on the boxes tonight."""
