"""Generative adversarial networks: a generator against a critic, one file a paper."""

from gencore.spec import read_family

family = read_family(
    __name__, name="gan", summary="Generative adversarial networks: a generator against a critic", extra="gan"
)
