"""The original Rocks compiler, as it was: what ``--legacy`` prints, for comparison (docs/legacy.md).

A model of its own, from the raw bytes of graph and node files to the text of a kickstart; it shares neither graph nor
node parser with the compiler that serves hosts, so that none of the original's faults can leak there. Deterministic:
where the original's answer varied from run to run, names are taken alphabetically. Nothing of a roll is executed.

::

    tree          the build folder: every roll's files laid over each other
    conditions    Python 2's reading of arch= os= release= cond=
    graphs        graph files become edges and order pairs
    traversal     which nodes, in which order
    expand        node files become one XML document (pass 1, pass 2)
    generate      the document becomes a kickstart (kgen)
    compiler      all of it, in turn

Where the original ended with a traceback, ``Stopped`` is raised with the original's words.
"""
