"""The auditor's report: what a trail shows of a period, counted in one pass with bounded memory."""
