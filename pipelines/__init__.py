"""Scripts over deepo_beam: start here to see what the package does."""
