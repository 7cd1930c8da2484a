"""A year of flights, replayed as the schedule lives through it: a drop a month, some of them spoilt."""
