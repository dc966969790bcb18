"""`xdpdns top`: what is being counted right now, in a terminal or a pipe.

One way, and everything but its two ends is pure::

    source -> Reading -> history (differences, by the filter) -> tables -> screen | report
                                              keys -> controls ---------------^

rich paints: a frame costs it 1 to 3 ms of CPU, once a second, and it is there at once. A widget
toolkit (textual) takes longer to import than everything else here to start.
"""
