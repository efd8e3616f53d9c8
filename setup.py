"""Maps the four top-level folders under the package `fedsec`; all metadata is in pyproject.toml."""

from setuptools import find_packages, setup

ROOMS = {
    "fedsec": "fedsec",
    "fedsec.attacks": "attacks",
    "fedsec.defenses": "defenses",
    "fedsec.scenarios": "scenarios",
}

setup(
    packages=[
        name for room, folder in ROOMS.items() for name in (room, *(f"{room}.{sub}" for sub in find_packages(folder)))
    ],
    package_dir=ROOMS,
)
