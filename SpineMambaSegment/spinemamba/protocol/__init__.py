"""JSON files and messages exchanged between processes, and the client of the worker process.

Standard library only.
"""
