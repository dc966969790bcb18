"""How fast xdpdns is, on the machine at hand: ratios that are taken within one run."""
