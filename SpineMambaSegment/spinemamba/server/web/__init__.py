"""Routes, bodies and connections of the server, with FastAPI and uvicorn."""
