"""Evaluation of trained models: predictions, scores, GLUE submissions, weight importance."""
