"""The web demo of `lowlight demo`: what it does with uploads (desk, results, shown), and its page (page, tabs)."""
