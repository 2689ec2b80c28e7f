"""What every stage stands on: run folders, processes, params, tracking. Moves bytes,
never numbers.
"""
