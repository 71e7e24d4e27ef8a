"""`gencore explore`: the command line's verbs as pages in a browser. Needs the extra `app`.

A view is a form whose fields are a command's options. What it shows is what that command writes, run in this process:
the command that stands beside a picture, copied into a terminal, writes the same bytes. So there is no second way to
sample, walk or invert here, and an error is the sentence that the command line has for it.

    fields.py     a form's field, and the words of a command line that it stands for
    commands.py   running a command, and keeping what it wrote
    traits.py     what a model can do, hence which views it has
    views/        one file a kind of view
    guard.py      who may ask, and for how much: hosts, token, sizes
    selecting.py  what somebody drew round on a map
    server.py     the addresses
    serving.py    on an address of this machine
"""
