"""How many cores, rows and bytes so many tokens a second take: arithmetic with constants measured in the same run."""
