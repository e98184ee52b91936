"""The learngene file: bases, header, terms, what a depth costs. Neither torch nor timm."""
