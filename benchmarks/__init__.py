"""`make bench`: what trunkline costs, measured side by side with the plain way, against the goals it promises.

    figures.py        the rows of the table and their goals
    world.py          the rows and models measured: the demo's where it has been run, else made up
    training.py       our training loop, a bare tensor loop and a DataLoader
    serving.py        the exported file, torch, and the files of the alone models
    scoring.py        `trunkline predict` on a large file
    memory.py         training, epoch after epoch
    orchestration.py  the commands when there is nothing to do
    report.py         the table on the screen and docs/benchmarks.md

The machine may be shared: what is compared runs in turns within one process, on one thread, and is judged by CPU
seconds, as the median of the ratios of each turn. Times by the clock stand beside.
"""
