"""The parts of `experiments.py`: a grid of runs, trained one by one or side by side, and their table.

Outside the plugin, and without heavy imports: `fairseq_kd` loads torch and fairseq, and a plan should
be printed at once. YAML and rich are imported where they are used.
"""
