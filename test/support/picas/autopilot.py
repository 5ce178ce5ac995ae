"""Starts one pilot through the batch system for each kind of token that there is: meant for scrontab."""
import subprocess

from pool import connect

database = connect()
for design, cores in (("SingleCore", 1), ("MultiCore", 4), ("NoSuchDesign", 9)):
    if database.is_view_nonempty("todo", design_doc=design):
        subprocess.run(
            ["sbatch", "--cpus-per-task=%d" % cores, "--export=ALL,VIEW=todo,DESIGN_DOC=%s" % design, "pilot.sh"],
            check=True,
        )
