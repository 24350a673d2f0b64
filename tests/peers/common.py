"""What the peer checks share: running glmq, finding checkpoints, reading safetensors."""
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.environ.get("GLMQ_BIN", os.path.join(ROOT, "build"))
FIXTURES = os.environ.get("GLMQ_FIXTURES", os.path.join(ROOT, "..", "shared", "fixtures"))
SAMPLE = os.path.join(ROOT, "samples", "glm4-moe-tiny")


def need(*packages):
    """Skips the check (status 77) when a package is missing."""
    os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    for name in packages:
        try:
            importlib.import_module(name)
        except ImportError as e:
            print(f"skipped: {e}")
            sys.exit(77)


def fixture(name):
    """The folder of a fixture, or None where the fixtures are absent."""
    path = os.path.join(FIXTURES, name)
    return path if os.path.isdir(path) else None


def checkpoints(*fixtures):
    """The sample, and those of the named fixtures that are here."""
    found = [("sample", SAMPLE)] + [(n, fixture(n)) for n in fixtures if fixture(n)]
    if len(found) == 1:
        print("no fixtures here: only the sample is checked")
    return found


def glmq(program, *args, status=0):
    cmd = [os.path.join(BIN, "glmq-" + program), *map(str, args)]
    r = subprocess.run(cmd, capture_output=True, text=True)
    if r.returncode != status:
        sys.exit(f"{' '.join(cmd)}: status {r.returncode}, expected {status}\n{r.stdout}{r.stderr}")
    return r.stdout


def convert(src, dst, to, *args):
    glmq("convert", src, dst, "--to", to, "--progress=none", "-q", *args)
    return dst


class scratch:
    """A temporary folder; keeps it for a look when GLMQ_KEEP is set."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="glmq-peer-")
        return self.path

    def __exit__(self, *_):
        if not os.environ.get("GLMQ_KEEP"):
            shutil.rmtree(self.path)


def shards(folder):
    return [os.path.join(folder, n) for n in sorted(os.listdir(folder)) if n.endswith(".safetensors")]


def tensors(folder):
    from safetensors import safe_open

    out = {}
    for path in shards(folder):
        with safe_open(path, "pt") as f:
            for key in f.keys():
                out[key] = f.get_tensor(key)
    return out


def config(folder):
    with open(os.path.join(folder, "config.json")) as f:
        return json.load(f)


def same_bits(a, b):
    """Equal in every bit but for the sign of zero."""
    import torch

    return a.dtype == b.dtype and a.shape == b.shape and bool(torch.equal(a, b))


class Checks:
    def __init__(self):
        self.done = 0

    def that(self, condition, message):
        self.done += 1
        if not condition:
            sys.exit("FAILED: " + message)

    def end(self):
        print(f"{self.done} checks passed")
