"""Makes the views of a pool: of all tokens, or with `autopilot` also of those for one core and for four."""
import sys

from pool import connect

STATES = {
    "todo": "doc.lock == 0 && doc.done == 0",
    "locked": "doc.lock > 0 && doc.done == 0",
    "done": "doc.lock > 0 && doc.done > 0 && parseInt(doc.exit_code) == 0",
    "error": "doc.lock > 0 && doc.done > 0 && parseInt(doc.exit_code) != 0",
}


def create(database, design, only=""):
    for state, condition in STATES.items():
        text = """function(doc) {
  if (doc.type == "token") {
    if (%s%s) {
      emit(doc._id, doc._id);
    }
  }
}""" % (condition, only)
        database.add_view(state, text, design_doc=design)
    tests = "\n".join("    if (%s%s) { emit('%s', 1); }" % (condition, only, state) for state, condition in STATES.items())
    database.add_view(
        "overview_total",
        "function(doc) {\n  if (doc.type == \"token\") {\n%s\n  }\n}" % tests,
        reduce_fun="function (key, values, rereduce) {\n  return sum(values);\n}",
        design_doc=design,
    )


database = connect()
create(database, "Monitor")
if "autopilot" in sys.argv:
    create(database, "SingleCore", " && doc.cores == 1")
    create(database, "MultiCore", " && doc.cores == 4")
