"""A real cache on torch: paged pools, radix nodes, intrusive recency lists, transfer streams."""
