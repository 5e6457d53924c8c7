"""What a run or an evaluation came to, for people: one self-contained page, Markdown and CSV.

`page.py` writes all of it from a folder's files; no model and no data set is needed, except for the pictures, which
come through a callable and are stored beside the report. To add a section: a builder that returns plain values, a block
in `templates/report.html.j2`, and its words in `markdown.py`. `fitting.py` runs a fit and writes
its page, for the command line and for Python alike.
"""
