"""Other forms of an exported model: fewer tasks, another server's folders. Nothing is trained and nothing changes."""
