"""quick_pilot.py NOTE [SECONDS]: notes each token that it runs in a file, and starts no program.

With GO it begins when that file is there, with UNTIL it works on a token until that one is there. FAIL: the exit code of its tokens. SCRUBS: what `run` takes for max_scrub."""
import os
import sys
import time

from pool import connect
from picas.actors import RunActor

seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0


def wait_for(name):
    while name in os.environ and not os.path.exists(os.environ[name]):
        time.sleep(0.01)


class Pilot(RunActor):
    def process_task(self, token):
        file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(file, ("%s %d\n" % (token["_id"], os.getpid())).encode())
        os.close(file)
        time.sleep(seconds)
        wait_for("UNTIL")
        token["exit_code"] = int(os.environ.get("FAIL", "0"))
        token.done()


actor = Pilot(connect())
print("ready", flush=True)
wait_for("GO")
actor.run(max_scrub=int(os.environ.get("SCRUBS", "0")))
