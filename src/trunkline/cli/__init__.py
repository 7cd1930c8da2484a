"""What a person types: one file per command, each thin; the work is done by the rooms below."""
