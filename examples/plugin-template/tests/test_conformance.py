from gencore.testing import Conformance


class TestAffine(Conformance):
    systems = ("affine-gaussian",)
