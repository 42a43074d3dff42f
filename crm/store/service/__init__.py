"""What the service keeps in the store beside the history: scores, keys, jobs, events, and what was done."""
