"""Manners of the HTTP API."""
