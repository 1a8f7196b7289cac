"""How faithful a map is to what the network computes: deletion, insertion, completeness, randomised weights."""
