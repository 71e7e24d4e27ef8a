"""Language models and word vectors, one file a paper."""

from gencore.spec import read_family

family = read_family(__name__, name="text", summary="Language models and word vectors", extra="text")
