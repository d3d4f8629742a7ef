"""Learning an encoder without labels, or with weak ones: methods, their presets, and the job that trains them."""
