"""A server that brightens: what is asked for, what is taken, who does it, and how it is told over HTTP."""
