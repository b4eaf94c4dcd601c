"""Questions that are put into files and answered together, by a provider or an own engine."""
