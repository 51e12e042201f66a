"""A stand-in for the LongLive package: the page's names and shapes over a small painter in numpy.

Not the LongLive network. It keeps what `converting-a-model` needs of one: a pipeline that is built from a
config, loads a state dict, denoises one latent after the other under a text conditioning that may change
while it runs, and a VAE that decodes a latent to pixels. Delete this folder to use the real package.
"""
