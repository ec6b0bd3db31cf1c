"""The commands of `lowlight`: a function each, in the file of its name unless cli.py says otherwise."""
