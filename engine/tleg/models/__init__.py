"""Models as people have them: folders that timm loads, files of weights."""
