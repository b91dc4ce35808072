"""The Grafana dashboards of the chart: their source, their data on this machine, and a picture of each.

    fleet, deployment -> panels -> charts/…/dashboards/*.json -> (Grafana | read -> draw)

The JSON is checked in and held against its source by a test; `python -m rehearsal.dashboards` writes it.
"""
