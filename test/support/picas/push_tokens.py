"""push_tokens.py FILE [CORES...]: a token for each line of a file, with an id that counts on."""
import sys

from pool import connect
from picas.documents import Task

database = connect()
first = database.doc_count()
tokens = []
with open(sys.argv[1]) as lines:
    for n, line in enumerate(lines):
        fields = {"_id": "token_%d" % (first + n), "type": "token", "input": line.rstrip("\n")}
        if len(sys.argv) > 2:
            fields["cores"] = int(sys.argv[2 + n])
        tokens.append(Task(fields))
print(all(database.save_documents(tokens)))
