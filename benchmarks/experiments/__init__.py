"""Experiments whose answer is known beforehand: does the verdict say what is true?

`make experiments` runs them all on made-up worlds, and those on flights where the demo's data lies in this checkout.
"""
