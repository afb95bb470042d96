"""The server `spinemamba serve`: jobs of several clients, one worker process per device.

FastAPI and uvicorn (the extra ``server``) are imported in `web` and `run` only.
"""
