"""Methods and models scored on pairs, tables and curves of it."""
