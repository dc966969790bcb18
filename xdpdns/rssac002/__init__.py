"""RSSAC002: what root server operators publish about each day's traffic.

"RSSAC Advisory on Measurements of the Root Server System", versions 3 and 5: a UTC day of one
measure is one YAML file. Of its measures these are made: traffic-volume, traffic-sizes and
rcode-volume (measures.py), from captures (captures.py) or from running counters (counters.py).
"""
