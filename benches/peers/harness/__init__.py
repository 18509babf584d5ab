"""The peers' harness: one proxy at a time, the same work for each, CPU time per request as the figure."""
