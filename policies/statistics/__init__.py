"""Statistics of paired, clustered, imperfectly judged rows: numpy and scipy only, seeded, no torch."""
