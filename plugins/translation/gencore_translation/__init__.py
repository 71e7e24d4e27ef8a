"""Pictures into other pictures: translation and restoration, one file a paper."""

from gencore.spec import read_family

family = read_family(
    __name__,
    name="translation",
    summary="Pictures into other pictures: translation and restoration",
    extra="translation",
)
