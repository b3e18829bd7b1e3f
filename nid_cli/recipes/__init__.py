"""Defaults per (architecture, data set), and how options become one resolved specification. No torch."""

from nid_cli.recipes.resolving import KNOWN, data_of, resolve, usual_save_every, usual_seeds
from nid_cli.recipes.tables import RECIPES

__all__ = ["KNOWN", "RECIPES", "data_of", "resolve", "usual_save_every", "usual_seeds"]
