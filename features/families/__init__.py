"""The features, one module a family: pure functions of moments, and their catalogue entries."""
