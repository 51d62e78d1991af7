"""Writes the reference pages that come from the program itself: settings, command line, HTTP API."""
