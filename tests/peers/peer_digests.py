"""The lists of tests/digests are what make_digests.py makes of the fixtures, without glmq."""
from common import *

need("numpy", "xxhash", "gguf")
import make_digests

if not os.path.isdir(FIXTURES):
    print("skipped: no fixtures")
    sys.exit(77)
c = Checks()
with scratch() as tmp:
    for name in sorted(n for n in os.listdir(FIXTURES) if make_digests.is_checkpoint(f"{FIXTURES}/{n}")):
        make_digests.one(FIXTURES, name, tmp)
        kept, made = (open(f"{d}/{name}.txt").read() for d in (f"{ROOT}/tests/digests", tmp))
        c.that(kept == made, f"{name}: another list")
c.end()
