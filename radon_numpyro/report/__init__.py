"""Write a fit as one HTML page."""
