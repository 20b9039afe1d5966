"""Data planes: each lowers a Plan's outcomes to what its kernel side understands, and none reads a policy."""
