"""``environment.yml`` as requirements, where that says exactly the same; else a refusal with the reason.

Known packages: those that PyPI and conda-forge have under one name with the same importable content. A
package that is not Python (a compiler, CUDA, ffmpeg) or that is not known is never guessed.
"""

import re
from collections.abc import Mapping
from typing import Any

from choline_tui.kernel.errors import ProjectError
from choline_tui.model.locks import Made
from choline_tui.model.wheels import Asks

__all__ = ["from_conda"]

SAME = frozenset(
    """
    absl-py accelerate albumentations altair attrs beautifulsoup4 black bokeh boto3 catboost cftime
    click cloudpickle colorama coverage cython dask datasets deepspeed dill diffusers einops
    evaluate fastapi filelock fire flake8 flask flax fsspec gensim gitpython gpytorch gymnasium h5py
    httpx huggingface_hub hydra-core hypothesis imageio ipykernel ipython ipywidgets isort jinja2
    joblib jupyter jupyterlab kornia langchain librosa lightgbm lightning llvmlite loguru lxml
    markdown matplotlib mlflow monai mypy nbformat netcdf4 networkx nltk notebook numba numexpr
    numpy omegaconf openpyxl optax optuna packaging pandas patsy peft pillow pip plotly pooch
    pre-commit protobuf psutil pyarrow pydantic pydicom pydot pygments pyparsing pytest pytest-cov
    python-dateutil python-dotenv pytorch-lightning pytz pywavelets pyyaml rasterio regex requests
    rich ruff sacrebleu safetensors scikit-image scikit-learn scipy seaborn sentence-transformers
    sentencepiece setuptools shap shapely simpleitk six soundfile spacy sqlalchemy statsmodels sympy
    tabulate tensorboard tensorboardx termcolor threadpoolctl tifffile tiktoken timm tokenizers toml
    torchaudio torchmetrics torchvision tornado tqdm transformers trimesh typer typing_extensions
    umap-learn uvicorn wandb wheel xarray xgboost xlrd yapf zarr
    """.split()  # noqa: SIM905 - a list of them is three times as long
)
RENAMED = {"pytorch": "torch", "matplotlib-base": "matplotlib"}
"""conda-forge's name: PyPI's name of the same project"""
_NORMAL = {re.sub(r"[-_.]+", "-", name) for name in SAME}

_VERSION = r"\d+(?:\.\d+)*(?:\.?(?:post|rc|a|b)\d+)?"
_SPEC = re.compile(
    r"(?:(?P<channel>[\w./:-]+)::)?(?P<name>[A-Za-z0-9][\w.-]*)\s*(?P<rest>.*)", re.ASCII | re.DOTALL
)


def from_conda(data: Any) -> Made:
    """``data``: the parsed file. Raises ProjectError that names the package and says why."""
    if not isinstance(data, Mapping) or not isinstance(data.get("dependencies", []), list):
        raise ProjectError("environment.yml has no list of dependencies")
    lines: list[str] = []
    python = cuda = version = ""
    torch = False
    for entry in data.get("dependencies", []):
        if isinstance(entry, Mapping) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            lines += [_pip(line) for line in entry["pip"]]
            continue
        if not isinstance(entry, str):
            raise ProjectError(f"environment.yml: {str(entry)[:80]!r} is no package")
        said = _SPEC.fullmatch(entry.strip())
        if said is None:
            raise ProjectError(f"environment.yml: {entry[:80]!r} is no package")
        name, rest = said["name"].lower(), said["rest"].strip()
        if name == "python":
            python = _python(rest)
        elif name == "pytorch-cuda":
            cuda = _cuda(rest)
        elif name == "cpuonly":
            cuda = "cpu"
        else:
            found = _package(name, rest)
            lines.append(found)
            if found.startswith("torch") and re.split(r"[=<>]", found)[0] == "torch":
                torch = True
                exact = re.fullmatch(r"torch==([\d.]+?)(?:\.\*)?", found)
                version = exact[1] if exact else ""
    for line in lines:
        pinned = re.fullmatch(r"torch\s*(?:==\s*([\w.+]+))?", line)
        if pinned:
            torch, version = True, pinned[1] or version
    return Made(
        "".join(f"{line}\n" for line in lines if line),
        python=python,
        asks=Asks(torch=torch, torch_version=version),
        cuda=cuda,
    )


def _pip(line: Any) -> str:
    if not isinstance(line, str) or "\n" in line:
        raise ProjectError(f"environment.yml: pip: {str(line)[:80]!r} is no requirement")
    return line.strip()


def _python(rest: str) -> str:
    said = re.fullmatch(r"={1,2}\s*(\d+\.\d+(?:\.\d+)?)(?:\.\*)?", rest)
    if said:
        return said[1]
    wanted = rest.replace(" ", "")
    if not wanted or re.fullmatch(r"[<>=!]+\d+(\.\d+)*(,[<>=!]+\d+(\.\d+)*)*", wanted):
        return wanted
    raise ProjectError(f"environment.yml: python{rest[:60]} cannot be said exactly for uv", hint=_HINT)


_HINT = "Write it under 'pip:', or name another file: [environment] from = \"requirements.txt\"."


def _cuda(rest: str) -> str:
    said = re.fullmatch(r"={1,2}\s*(\d{1,2}\.\d)(?:\.\*)?", rest)
    if said is None:
        raise ProjectError(f"environment.yml: pytorch-cuda{rest[:60]} does not name one CUDA", hint=_HINT)
    return said[1]


def _package(name: str, rest: str) -> str:
    ours = RENAMED.get(name, name)
    if name not in RENAMED and re.sub(r"[-_.]+", "-", name) not in _NORMAL:
        raise ProjectError(f"environment.yml: {name[:80]} is not known to be the same on PyPI", hint=_HINT)
    if not rest:
        return ours
    wanted = re.sub(r"\s*,\s*", ",", re.sub(r"([<>=!])\s+", r"\1", rest))
    if re.search(r"[=\s][\w*]*[A-Za-z_]\w*_\d+$|^=?[^=<>]*=[^=]+=[^=]", wanted) or re.fullmatch(
        r"=\S+=\S+|\S+\s+\S+", wanted
    ):
        raise ProjectError(
            f"environment.yml: {name}{rest[:60]} names a build of conda, which PyPI does not have", hint=_HINT
        )
    fuzzy = re.fullmatch(rf"=?({_VERSION})(?:\.\*)?", wanted)
    if fuzzy and not wanted.startswith("=="):
        # conda's single '=' (or a bare version after a space) takes whatever begins with it
        star = wanted.startswith("=") or wanted.endswith(".*")
        return f"{ours}=={fuzzy[1]}.*" if star else f"{ours}=={fuzzy[1]}"
    if re.fullmatch(rf"(==|>=|<=|<|>|!=){_VERSION}(\.\*)?(,(==|>=|<=|<|>|!=){_VERSION}(\.\*)?)*", wanted):
        return f"{ours}{wanted}"
    raise ProjectError(f"environment.yml: {name}{rest[:60]} cannot be said exactly for PyPI", hint=_HINT)
