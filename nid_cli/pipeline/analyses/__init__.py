"""Analyses: what each is (``catalog``, ``parameters``), what a request asks for (``requests``), and how missing results
are computed with models and data in memory (``lab``, ``run``) by the file of each analysis."""
