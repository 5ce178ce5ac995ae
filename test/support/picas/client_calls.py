"""Every call of the client, and what it has to answer."""
import base64

from pool import connect
from couchdb.http import ResourceConflict, ResourceNotFound
from picas.documents import Document, Job, Task
from picas.generators import TokenGenerator
from picas.iterators import PrioritizedViewIterator, TaskViewIterator
from picas.modifiers import BasicTokenModifier

database = connect()
AWKWARD = ["a/b c", "a%2Fb", "été ∮ 日本", "plus+and&and=?#", "dot.dot/../x", "_not"[1:], "'quoted' \"id\"", "a\\b"]

before = database.doc_count()
assert database.save_documents([Task({"_id": id, "type": "token", "input": id}) for id in AWKWARD]) == [True] * len(AWKWARD)
assert database.doc_count() == before + len(AWKWARD)
for id in AWKWARD:
    assert database.get(id)["input"] == id and database[id]["_id"] == id, id
assert sorted(row.key for row in database.view("todo").rows) == sorted(AWKWARD)
assert sorted(doc.id for doc in database.get_from_view("todo")) == sorted(AWKWARD)
assert database.copy().doc_count() == database.doc_count()

# One conflict among others refuses itself only.
stale = database.get(AWKWARD[0])
fresh = database.get(AWKWARD[0])
fresh["note"] = "newer"
database.save(fresh)
stale["note"] = "older"
other = database.get(AWKWARD[1])
other["note"] = "fine"
assert database.save_documents([stale, other]) == [False, True]
assert database.save_documents([]) == []
try:
    database.save(stale)
    raise AssertionError("a conflict was not told")
except ResourceConflict:
    pass
try:
    database.get("nothing")
    raise AssertionError("a missing document was found")
except ValueError:
    pass
try:
    database.view("nothing").rows
    raise AssertionError("a missing view was found")
except ResourceNotFound:
    pass

# Attachments: bytes and names as they are, kept while later saves bring stubs.
task = database.get(AWKWARD[2])
task.put_attachment("my log file.txt", "first\nsecond\n")
task.put_attachment("päckchen & more.bin", bytes(range(256)) * 40)
task.put_attachment("empty", b"")
database.save(task)
for round in range(3):
    task = database.get(AWKWARD[2])
    stubs = task["_attachments"]
    assert all(one["stub"] and one["digest"].startswith("md5-") for one in stubs.values()), stubs
    task["round"] = round
    database.save(task)
assert Document(database.get(AWKWARD[2])).get_attachment("my log file.txt", database)["data"] == b"first\nsecond\n"
assert database.get(AWKWARD[2]).get_attachment("päckchen & more.bin", database)["data"] == bytes(range(256)) * 40
assert database.get(AWKWARD[2]).get_attachment("empty", database)["data"] == b""
assert database.get(AWKWARD[2])["_attachments"]["my log file.txt"]["length"] == 13
task = database.get(AWKWARD[2]).remove_attachment("empty")
database.save(task)
assert sorted(database.get(AWKWARD[2])["_attachments"]) == ["my log file.txt", "päckchen & more.bin"]

# Claims, by hand and by iterators.
assert database.is_view_nonempty("todo") and not database.is_view_nonempty("done")
assert not database.is_view_nonempty("todo", design_doc="Nothing") and not database.is_view_nonempty("nothing")
first = database.get_single_from_view("todo", window_size=100)
token = BasicTokenModifier().lock(first)
database.save(token)
assert [row.id for row in database.view("locked").rows] == [first.id]
token = BasicTokenModifier().scrub(database.get(first.id))
database.save(token)
assert database.view("locked").rows == [] and database.get(first.id)["scrub_count"] == 1
claimed = [task.id for task in PrioritizedViewIterator(database, "error", "todo")]
assert sorted(claimed) == sorted(AWKWARD), claimed
assert list(TaskViewIterator(database, "todo")) == []
database.save(Task(database.get(AWKWARD[0])).error("it broke"))
assert [row.id for row in database.view("error").rows] == [AWKWARD[0]]
assert len(database.view("locked", limit=3, descending=True).rows) == 3
assert database.view("locked", skip=2, limit=100, include_docs=True).rows[0].doc["type"] == "token"
assert [row.key for row in database.view("locked", keys=AWKWARD[1:3]).rows] == AWKWARD[1:3]
assert [row.key for row in database.view("locked", key=AWKWARD[3]).rows] == [AWKWARD[3]]

# Documents that are no tokens.
job = Job({"_id": "job 1"}).queue("slurm", "here").start().finish()
database.save(job)
assert database.get("job 1")["type"] == "job"
plain = TokenGenerator.get_empty_token()
database.save(Document(plain))
assert len(database.view("todo").rows) == 1
by_post = Document({"type": "note", "text": "no id of its own"})
assert database.save(by_post).id

# Views of one's own.
database.add_view("by_input", "function(doc) { if (doc.input) emit(doc.input.length, doc.input); }", design_doc="Mine")
assert database.view("by_input", design_doc="Mine").rows[0].key == min(len(id) for id in AWKWARD)
database.add_view("sizes", "function(doc) { if (doc.input) emit(doc.type, doc.input.length); }", reduce_fun="_stats", design_doc="Mine")
assert database.view("sizes", design_doc="Mine", group=True).rows[0].value["count"] == len(AWKWARD)
assert len(database.view("by_input", design_doc="Mine").rows) == len(AWKWARD)

assert database.delete_from_view("locked") == [True] * (len(AWKWARD) - 1)
deleted = [row.id for row in database.view("error").rows]
assert deleted == [AWKWARD[0]], deleted
assert database.delete_from_view("error") == [True]
assert database.view("locked").rows == []
assert [view.rows for view in map(database.view, ("todo", "locked", "done", "error"))][1:] == [[], [], []]
assert database.doc_count() == before + 4, database.doc_count() - before  # the job, two notes, a design document
again = Task({"_id": AWKWARD[0], "type": "token", "input": "anew"})
assert database.save(again).rev.startswith("3-") or int(again.rev.split("-")[0]) > 1
database.delete(database.get(AWKWARD[0]))
assert database.doc_count() == before + 4 and not database.is_view_nonempty("error")

# Who may.
database.set_users(admins=[database.db.resource.credentials[0]], members=["somebody"], member_roles=["readers"])
security = database.db.security
assert security["members"] == {"names": ["somebody"], "roles": ["readers"]}, security
assert security["admins"]["names"] == [database.db.resource.credentials[0]], security
print("all well")
