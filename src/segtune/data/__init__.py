"""Data sets: reading and writing them, checking, splitting and augmenting them, and drawing images of our own.

The formats are an open room: `data.formats` says how to add one.
"""
