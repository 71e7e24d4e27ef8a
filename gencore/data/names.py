"""The words after --data: built-in names, names of plugins, and forms with an argument. Needs no torch."""

from __future__ import annotations

from typing import NamedTuple

from gencore.errors import PluginError
from gencore.spec import DataName


class Form(NamedTuple):
    """A word with an argument, such as paired:DIR. `opens`: function(argument, options) -> a source."""

    usage: str
    summary: str
    opens: str


_TOYS = "gencore.data.toys"

BUILT_IN = tuple(
    DataName(name=name, summary=summary, opens=opens)
    for name, summary, opens in (
        ("digits", "1,797 handwritten digits of 8 x 8, 10 classes (UCI)", "gencore.data.sources.bundled:digits"),
        ("ring", "8 Gaussians on a circle in the plane", "gencore.data.sources.synthetic:ring_of_split"),
        ("gaussian", "normal numbers; gaussian:MEAN,STD", "gencore.data.sources.synthetic:gaussian_of_split"),
        ("grid25", "25 Gaussians on a grid in the plane", f"{_TOYS}.mixtures:grid25"),
        ("dirac", "all mass at one point", "gencore.data.sources.synthetic:dirac_of_split"),
        ("faces", "drawn faces: person, pose, age, glasses, expression", f"{_TOYS}.faces:faces"),
        ("scenes", "outdoor scenes with a layout and weather", f"{_TOYS}.scenes:scenes"),
        ("captions", "coloured shapes with a sentence each", f"{_TOYS}.captions:captions"),
        ("boxed", "coloured shapes with a sentence of what and a box of where", f"{_TOYS}.captions:boxed"),
        ("voxels", "solid shapes of voxels", f"{_TOYS}.voxels:voxels"),
        ("showers", "energy of particle showers in three layers", f"{_TOYS}.showers:showers"),
        ("jets", "images of particle jets", f"{_TOYS}.jets:jets"),
        ("tones", "melodies in a scale", f"{_TOYS}.tones:tones"),
        ("diagrams", "series of panels with a rule", f"{_TOYS}.diagrams:diagrams"),
        ("cipher", "sentences and their translation", f"{_TOYS}.cipher:cipher"),
        ("grammar", "sentences of a small language of known entropy", f"{_TOYS}.grammar:grammar"),
        ("photos", "crops of photographs (needs scikit-learn)", f"{_TOYS}.photos:photos"),
    )
)

FORMS = {
    "gaussian": Form("gaussian:MEAN,STD", "normal numbers", "gencore.data.sources.synthetic:open_gaussian"),
    "mnist": Form(
        "mnist:DIRECTORY",
        "MNIST's four IDX files, in a folder or at mnist:hf://datasets/ORG/NAME[@REVISION]",
        "gencore.data.sources.mnist:open_mnist",
    ),
    "paired": Form(
        "paired:DIR",
        "input and target of the same file names (A and B, or input and target), or side by side",
        "gencore.data.sources.two_domains:open_paired",
    ),
    "unpaired": Form(
        "unpaired:DIR",
        "two kinds of pictures: trainA, trainB, testA, testB, or two sub-folders",
        "gencore.data.sources.two_domains:open_unpaired",
    ),
    "squares": Form(
        "squares:DIR",
        "squares cut at random from pictures of any sizes, at their own resolution; --image-size is the side",
        "gencore.data.sources.squares:open_squares",
    ),
    "text": Form(
        "text:PATH[,UNIT[,LENGTH]]",
        "a text file, a folder of .txt or hf://datasets/ORG/NAME, by bytes, characters, words or bpe, in pieces of 64",
        "gencore.data.sources.text:open_text",
    ),
    "sound": Form(
        "sound:PATH[,RATE[,SECONDS]]",
        "a sound file or a folder of them, at 8000 numbers a second, in clips of 0.28 s (needs gencore[audio])",
        "gencore.data.sources.sounds:open_sound",
    ),
    "spectrograms": Form(
        "spectrograms:PATH",
        "log-spectrograms of such clips (needs gencore[audio])",
        "gencore.data.sources.sounds:open_spectrograms",
    ),
    "volumes": Form(
        "volumes:PATH",
        "solid shapes: a .binvox, .npy or .npz file, or a folder of .binvox files",
        "gencore.data.sources.volumes:open_volumes",
    ),
    "midi": Form(
        "midi:PATH[,STEPS]",
        "a .mid file or a folder of them, in melodies of 16 notes (needs gencore[midi])",
        "gencore.data.sources.midi:open_midi",
    ),
    "hf": Form(
        "hf://datasets/ORG/NAME[@REVISION]",
        "a data set of the Hugging Face Hub with an image column (needs gencore[hf])",
        "gencore.data.sources.hub:open_hub",
    ),
}

PATHS = "a folder of images, a .txt, .npy or .npz file, showers or jets in a .hdf5 file (needs gencore[physics])"


def plain_names() -> dict[str, DataName]:
    """The names without an argument, by name: the built-in ones and those of the installed plugins.

    Raises PluginError where a plugin claims a built-in name, or two plugins one name.
    """
    from gencore.registry import default_registry

    known = {data.name: data for data in BUILT_IN}
    for data in default_registry().data_names():
        if data.name in known or data.name in FORMS:
            raise PluginError(
                f"The data name {data.name!r} is gencore's own, and a plugin claims it ({data.opens}): "
                "uninstall that plugin, or have it renamed."
            )
    return known | {data.name: data for data in default_registry().data_names()}


def has_test_part(word: str) -> bool:
    """Whether what stands after --data names data that come with a test part: no paths, and nothing of the Hub."""
    name = word.partition(":")[0]
    return "hf://" not in word and (name in plain_names() or name in ("gaussian", "mnist", "unpaired"))


def list_data() -> tuple[DataName, ...]:
    """Everything that may stand after --data but paths: names sorted, then the forms, whose name shows their use."""
    forms = [DataName(name=form.usage, summary=form.summary, opens=form.opens) for form in FORMS.values()]
    return (*sorted(plain_names().values(), key=lambda data: data.name), *forms)


def understood() -> str:
    """All names and forms, for messages."""
    return ", ".join([*(data.name for data in BUILT_IN), *(form.usage for form in FORMS.values()), PATHS])
