"""Convert masks to closed surfaces: extraction, smoothing, decimation, checks, file formats."""
