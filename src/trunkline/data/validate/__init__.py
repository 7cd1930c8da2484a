"""Judge rows before anything is learned from them: rules, drift from drop to drop, inputs that give a label away.

Great Expectations is the judge; the suite it judges by is made of what params.yaml declares.
"""
