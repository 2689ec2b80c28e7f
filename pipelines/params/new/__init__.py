"""``python -m pipelines.params new``: from somebody's folder of text to a recipe.

find     which files hold pairs and documents, of which split
pairs    reading them, whatever their form, and splitting what is not split
sizes    of vocabulary, networks and trainings, for a time
recipe   the folder below data/raw and the recipe
"""
