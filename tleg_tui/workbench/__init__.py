"""The first screen: learngenes, their depths, what each costs and reaches."""
