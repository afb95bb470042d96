"""Reading from and writing to the MRML scene. No Qt."""
