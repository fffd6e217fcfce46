"""Who uses which format when training: recipes, their catalogue and their names."""
