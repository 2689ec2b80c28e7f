"""Everything measured to tables, pictures, a model card and a page."""
