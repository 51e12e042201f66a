"""What an author's class is made of: the class, its commands and their schema, pictures, the manifest.

Imports the values at the top of the package and `weights`; is imported by whatever runs or describes a model.
"""
