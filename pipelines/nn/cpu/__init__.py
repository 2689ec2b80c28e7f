"""What exists only because of CPUs: products of oneDNN, dropout, attention as three products."""
