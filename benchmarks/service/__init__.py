"""The service against clients that nobody here wrote, and under load."""
