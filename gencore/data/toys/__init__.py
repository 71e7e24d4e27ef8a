"""Toys: procedural data with known factors, drawn on the fly. One module each, with a function of the same name.

`from gencore.data.toys.faces import faces`: every such function returns a source (`rendered.Rendered`), whose keys
stand in its module's docstring. Example i is a function of (seed, i) alone: it depends neither on how many are drawn
nor on their order. The splits "train" and "test" have different seeds.
"""
