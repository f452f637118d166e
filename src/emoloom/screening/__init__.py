"""Screening: the plan and its cost, and the cells (one candidate, one stage) that it is made of."""
