"""Models in and out of other formats; PyTorch's state dicts load as they are (``Module.load_state_dict``)."""
