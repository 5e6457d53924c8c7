"""Our own Segment Anything in plain torch, one file per box of the paper's figure."""
