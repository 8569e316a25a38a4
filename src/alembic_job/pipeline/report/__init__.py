"""A run or a plan as one HTML file: nothing in it asks anybody for anything, and no text in it can act."""
