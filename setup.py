"""Packaging. The four folders stand at the top of the repository and install under one import name."""

from pathlib import Path

from setuptools import setup

FOLDERS = {
    "headrace.pipeline": "pipeline",
    "headrace.pipeline.styles": "pipeline/styles",
    "headrace.daemons": "daemons",
    "headrace.daemons.client": "daemons/client",
    "headrace.daemons.commands": "daemons/commands",
    "headrace.daemons.dispatch": "daemons/dispatch",
    "headrace.daemons.journal": "daemons/journal",
    "headrace.daemons.slots": "daemons/slots",
    "headrace.stores": "stores",
    "headrace.workers": "workers",
    "headrace.workers.cache": "workers/cache",
    "headrace.workers.pools": "workers/pools",
}
HERE = Path(__file__).parent
PRESENT = {name: folder for name, folder in FOLDERS.items() if (HERE / folder / "__init__.py").exists()}

setup(
    name="headrace",
    version="0.1.0",
    description="Durable pipelines of jobs on one machine or a small cluster, over ZeroMQ, with no external service",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=["headrace", *PRESENT],
    package_dir={"headrace": "headrace", **PRESENT},
    package_data={"headrace": ["py.typed"]},
    install_requires=[
        "pyzmq>=25.1",
        "msgpack>=1.0.5",
        "msgspec>=0.18.5",
        "click>=8.1",
        "psutil>=5.9",
        "rich>=13.0",
    ],
    extras_require={
        "mongo": ["pymongo>=4.5"],
        "test": [
            "pytest>=8.0",
            "pytest-timeout>=2.2",
            "hypothesis>=6.90",
            "coverage>=7.4",
            "pymongo>=4.5",
            "numpy>=1.26",
            "pandas>=2.1",
            "pyarrow>=14",
            "build>=1.0",
        ],
        "lint": ["mypy>=1.10", "ruff>=0.6", "types-psutil", "pymongo>=4.5"],
    },
    entry_points={"console_scripts": ["headrace = headrace.daemons.cli:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "License :: OSI Approved :: Apache Software License",
        "Operating System :: MacOS",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Distributed Computing",
        "Typing :: Typed",
    ],
)
