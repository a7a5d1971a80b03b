"""What is drawn in panels. Reads what is known already; asks nothing of disks, processes or networks."""
