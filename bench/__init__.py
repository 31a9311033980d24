"""Figures about firstcause, measured beside its peers."""
