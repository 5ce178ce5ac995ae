"""A pilot: runs `./process_task.sh INPUT ID` for one token after the other, until there is none.

Settings come as JSON in PILOT: view, design_doc, and what `run` takes (max_token_time, max_total_time, max_tasks,
max_scrub); `note`: a file that gets a line for each token that was begun."""
import json
import os
import subprocess

from pool import connect
from picas.actors import RunActor

settings = json.loads(os.environ.get("PILOT", "{}"))
view = settings.pop("view", "todo")
design = settings.pop("design_doc", "Monitor")
note = settings.pop("note", None)
reset_values = settings.pop("token_reset_values", [0, 0])


class Pilot(RunActor):
    def prepare_env(self):
        print("prepare_env")

    def prepare_run(self):
        print("prepare_run")

    def process_task(self, token):
        if note is not None:
            file = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(file, ("%s %d\n" % (token["_id"], os.getpid())).encode())
            os.close(file)
        words = ["/usr/bin/time", "./process_task.sh", str(token["input"]), token["_id"]]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            self.subprocess = child
            out, err = child.communicate()
        token["exit_code"] = child.returncode
        token.done()
        token.put_attachment("logs %s.out" % token["_id"].replace("/", "_"), out)
        token.put_attachment("logs %s.err" % token["_id"].replace("/", "_"), err)

    def cleanup_run(self):
        print("cleanup_run")

    def cleanup_env(self):
        print("cleanup_env")


actor = Pilot(connect(), view=view, design_doc=design, token_reset_values=reset_values)
print("connected", flush=True)
actor.run(**settings)
print("tokens", actor.tasks_processed)
