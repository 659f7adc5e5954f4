"""The program ``tinygan``: what comes with the package, for whoever has no clone of it.

``main`` finds the command and says what there is; ``commands`` and ``run_commands`` are what each of them does, a few
lines around functions of the package; ``own_layer`` finds the layer that is to be checked, and ``examples`` the files
of the examples, which come with the package, and runs them. All of the package may be imported here, but only by the
command that needs it, so that the help is there at once. Nothing imports this.
"""
