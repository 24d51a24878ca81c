"""Annotated recordings: events of long recordings, as annotation programs write them.

There is one module for each format, which reads and writes it: selection tables of
Raven (`raven`), label tracks of Audacity (`audacity`) and one table of all recordings
(`event_table`). `matching` finds out which annotations belong to which recording,
`windows` cuts recordings into windows with labels, and `builder` makes a data set of
them.
"""
