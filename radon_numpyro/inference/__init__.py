"""How a posterior is computed: settings, and one folder for each way to draws."""
