"""Using a model: one image and many prompts, or many images.

`session.py` embeds an image once and answers prompts on it; `many.py` goes over folders; `everything.py` finds masks
nobody pointed at. `enlarge.py` brings logits to masks of the image's size, which evaluation shares.
"""
