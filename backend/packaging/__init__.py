"""What is made out of the sources for people to read or install. Owns no behaviour of the programs."""
