"""Dashboards as code: `python -m dashboards` writes `generated/`, which Grafana reads as it is."""
