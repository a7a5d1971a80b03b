"""The HTTP surface: requests in, events and arrays out. Imports no torch, so that it always answers.

Owns who may ask (loopback, token, Host and Origin), limits, and the life of the process. What a request
does is the business of `backend.jobs`.
"""
