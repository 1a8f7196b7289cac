"""The notebooks of Stanford's course CS231n, with cnnlab behind ``import cs231n``.

:func:`~cnnlab.course.link.link_course` (``cnnlab course link FOLDER``) writes a package ``cs231n`` into a folder. Each
of its files imports one module of :mod:`cnnlab.course.cs231n`, which has the names, arguments and return values that
the notebooks of assignments 1 to 3 use (https://cs231n.github.io), and calls the other rooms for the work. Nothing here
is the course's code.
"""
