"""What the descriptions in ``../bad`` name as images and interfaces, so that they depend on nothing else."""
