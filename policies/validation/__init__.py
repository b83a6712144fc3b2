"""Is a candidate really better? Scorecards, gates, the decision and its explanation. Pure, no torch."""
