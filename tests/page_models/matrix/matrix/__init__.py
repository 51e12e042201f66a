"""A stand-in for the Matrix-Game 2 package: the page's names over a small flight through a landscape.

Not the Matrix-Game network. It keeps what `converting-a-model` needs of one: a game that is loaded once, a
loop that emits frames by itself, actions that are held until they change, and a starting image. Delete
this folder to use the real package.
"""
