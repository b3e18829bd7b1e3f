"""Figures from recorded results: the table of figures and how their records are gathered (``table``, ``recorded``,
``overlay``), drawn into a file (``draw``), and all on one page (``report``)."""
