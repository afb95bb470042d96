"""Commands that work for other computers: archives of images, clients of a server."""
