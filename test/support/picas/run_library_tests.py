"""Runs the tests of couchdb-python's own suite and says as JSON what became of each.

Two things differ from a CouchDB that was just installed, and are evened out here: every database has the standard views
of PiCaS from the start, so a test's fresh database begins with taking them away; and names of modules are given."""
import io
import json
import sys
import unittest

from couchdb.tests import testutil

create = testutil.TempDatabaseMixin.temp_db


def create_empty(self):
    name, database = create(self)
    database.delete(database["_design/Monitor"])
    return name, database


testutil.TempDatabaseMixin.temp_db = create_empty


class Collector(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.outcomes = {}

    def startTest(self, test):
        super().startTest(test)
        self.outcomes[name_of(test)] = "passed"

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.outcomes[name_of(test)] = "failed: %s: %s" % (error[0].__name__, error[1])

    addError = addFailure

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.outcomes[name_of(test)] = "skipped: %s" % reason


def name_of(test):
    return test.id().replace("couchdb.tests.", "", 1)


collector = Collector()
modules = ["couchdb.tests." + module for module in sys.argv[1:]]
stdout, sys.stdout = sys.stdout, io.StringIO()
unittest.defaultTestLoader.loadTestsFromNames(modules).run(collector)
sys.stdout = stdout
json.dump(collector.outcomes, sys.stdout)
