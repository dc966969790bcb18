"""`xdpdns sample`: a bounded look at an interface, and what it says of the DNS there.

::

    program    bpf/sample.bpf.c: compiled, loaded, opened, shut, read
    hold       on TC ingress and egress for as long as this process lives
    counts     what was counted: plain data
    take       all of that once: a Sample
    verdict    counts to verdicts; pure
    report     a Sample as JSON; present as text, and a bar while it is taken
"""
