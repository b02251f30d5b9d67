"""The commands of `deta`, a module for each family; main.py loads only the one that is called."""
