"""Results of models as tables, plots and a static page."""
