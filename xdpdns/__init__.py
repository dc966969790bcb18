"""xdpdns: what reaches a nameserver, counted in the kernel and served to Prometheus."""

__version__ = "0.1.0"
