"""Pictures as the sensor counted them: raw files, packing, rendering, noise."""
