"""The demonstration: two films, three sites, five appliances, one night, two accidents."""
