"""The claims, one folder per paper, named authorYEARtopic."""
