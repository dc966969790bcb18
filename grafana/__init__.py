"""The Grafana dashboards: what generates them, and the JSON to import."""
