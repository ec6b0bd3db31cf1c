"""What is measured of a result, and losses."""
