"""What runs, in which order, and what happened: the job table, its history and the worker processes.

Owns `jobs.sqlite` and every child process of the service. Imports no torch: stages are named by string
and imported inside the workers.
"""
