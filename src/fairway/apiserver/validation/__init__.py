"""What fields may hold, in the words of a real server: shared by all kinds. Pure."""
