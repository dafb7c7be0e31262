#!/usr/bin/env python3
"""Imports an export of a CRM into Cadenza and enrols everybody in it into a sequence.

    export CADENZA_URL=http://127.0.0.1:8080 CADENZA_TOKEN=cdz_...
    ./enrol.py contacts.csv --sequence "Welcome"

It needs Python 3.9 or newer and nothing else. Each line gets one column more, `crm_export`, with the
name of the export: it becomes an attribute of the person, and everybody who has it is enrolled by one
mutation with a filter. Both mutations carry an idempotency key that is made from the file, so that the
script may be run again after it was cut off, and nothing happens twice.

It ends with 0 where every person has an outcome that is none of trouble, with 1 where a line could not be
imported or a person not be enrolled, and with 2 where nothing could be done at all.
"""

import argparse
import csv
import hashlib
import io
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections import Counter

TRIES = 5
COLUMN = "crm_export"

SEQUENCES = """query Sequences($after: String) {
  sequences(first: 250, after: $after) { nodes { id name status } pageInfo { hasNextPage endCursor } }
}"""

IMPORT = """mutation Import($input: PeopleImportInput!) {
  peopleImport(input: $input) { operation { id } userErrors { code message path } }
}"""

ENROL = """mutation Enrol($input: LeadsEnrolInput!) {
  leadsEnrol(input: $input) { operation { id } userErrors { code message path } }
}"""

PROGRESS = """query Progress($id: ID!) {
  bulkOperation(id: $id) { status total processed succeeded skipped failed error }
}"""

OUTCOMES = """query Outcomes($id: ID!, $after: String) {
  bulkOperation(id: $id) {
    outcomes(first: 250, after: $after) {
      nodes { subject code message }
      pageInfo { hasNextPage endCursor }
    }
  }
}"""


class Trouble(Exception):
    """Nothing can be done about it here; the text says what to do."""


class Client:
    """The API of one workspace."""

    def __init__(self, url, token):
        self.url = url.rstrip("/") + "/graphql"
        self.token = token

    def ask(self, document, variables):
        """Sends a document and answers its data. What may pass is tried again: both mutations of this
        script can be sent twice, for they have an idempotency key."""
        body = json.dumps({"query": document, "variables": variables}).encode()
        headers = {
            "Authorization": "Bearer " + self.token,
            "Content-Type": "application/json",
            "Accept": "application/graphql-response+json",
        }
        for attempt in range(1, TRIES + 1):
            request = urllib.request.Request(self.url, data=body, headers=headers)
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    answer = json.load(response)
            except urllib.error.HTTPError as error:
                if error.code in (429, 502, 503, 504) and attempt < TRIES:
                    time.sleep(float(error.headers.get("Retry-After") or 2**attempt))
                    continue
                raise Trouble(f"{self.url} answers {error.code}: {told(error)}") from error
            except (urllib.error.URLError, TimeoutError) as error:
                if attempt < TRIES:
                    time.sleep(2**attempt / 4)
                    continue
                reason = getattr(error, "reason", error)
                raise Trouble(f"{self.url} cannot be reached: {reason}") from error
            if answer.get("errors"):
                raise Trouble("; ".join(error["message"] for error in answer["errors"]))
            return answer["data"]
        raise Trouble(f"{self.url} is busy; try again later")

    def change(self, field, document, given):
        """Sends a mutation and answers the id of the operation that it began."""
        payload = self.ask(document, {"input": given})[field]
        if payload["userErrors"]:
            raise Trouble("; ".join(error["message"] for error in payload["userErrors"]))
        return payload["operation"]["id"]

    def follow(self, what, operation, every):
        """Shows how far an operation is until it is over, and answers it."""
        shown = None
        while True:
            found = self.ask(PROGRESS, {"id": operation})["bulkOperation"]
            line = f"{what}: {found['status'].lower()}, {found['processed']} of {found['total'] or '?'}"
            if line != shown:
                print(line, flush=True)
                shown = line
            if found["status"] not in ("QUEUED", "RUNNING"):
                return found
            time.sleep(every)

    def sequences(self):
        """Every sequence that the token sees."""
        return pages(lambda after: self.ask(SEQUENCES, {"after": after})["sequences"])

    def outcomes(self, operation):
        """What became of each item of an operation."""
        return pages(
            lambda after: self.ask(OUTCOMES, {"id": operation, "after": after})["bulkOperation"]["outcomes"]
        )


def pages(read):
    """Everything of a list, a page at a time."""
    after = None
    while True:
        found = read(after)
        yield from found["nodes"]
        if not found["pageInfo"]["hasNextPage"]:
            return
        after = found["pageInfo"]["endCursor"]


def told(error):
    """What the server says of a request that it refuses."""
    text = error.read().decode("utf-8", "replace")
    try:
        return "; ".join(entry["message"] for entry in json.loads(text)["errors"])
    except (ValueError, KeyError, TypeError):
        return text[:200]


def marked(path, name):
    """The file with one column more."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{path} cannot be read: {error}") from error
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if len(rows) < 2:
        raise Trouble(f"{path} has no people: give a line of headers and one for each person")
    width = len(rows[0])
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(rows[0] + [COLUMN])
    for row in rows[1:]:
        if row:
            # A line that is too long stays so, and is told among the outcomes.
            writer.writerow(row + [""] * (width - len(row)) + [name])
    return written.getvalue()


def chosen(client, wanted):
    """The id of the sequence with this id or this name."""
    if wanted.startswith("seq_"):
        return wanted
    named = [sequence for sequence in client.sequences() if sequence["name"] == wanted]
    if len(named) != 1:
        raise Trouble(f"{len(named)} sequences are called {wanted}: give the id with --sequence")
    if named[0]["status"] != "PUBLISHED":
        raise Trouble(f"{wanted} is {named[0]['status'].lower()}, and takes leads once it is published")
    return named[0]["id"]


def report(what, client, operation, found):
    """Prints the outcomes by their codes; answers whether something went wrong."""
    counted, examples = Counter(), {}
    for outcome in client.outcomes(operation):
        counted[outcome["code"]] += 1
        examples.setdefault(outcome["code"], outcome)
    for code, count in sorted(counted.items()):
        example = examples[code]
        why = "" if code == "DONE" else f"  {example['subject']}: {example['message']}"
        print(f"  {code:<18}{count:>8}{why}")
    if found["status"] != "COMPLETED":
        print(f"{what}: ended as {found['status']}: {found['error'] or 'somebody ended it'}", file=sys.stderr)
        return True
    if found["failed"]:
        print(f"{what}: {found['failed']} could not be done", file=sys.stderr)
    return found["failed"] > 0


def run(arguments):
    """Imports and enrols; answers whether something went wrong."""
    token = os.environ.get("CADENZA_TOKEN")
    if not token:
        raise Trouble("set CADENZA_TOKEN to the token of an editor: `cadenza token create` makes one")
    client = Client(arguments.url, token)
    sequence = chosen(client, arguments.sequence)
    name = arguments.name or os.path.splitext(os.path.basename(arguments.file))[0]
    text = marked(arguments.file, name)
    key = hashlib.sha256(f"{name}\n{text}".encode()).hexdigest()[:32]

    operation = client.change("peopleImport", IMPORT, {"csv": text, "idempotencyKey": f"import-{key}"})
    imported = client.follow("import", operation, arguments.every)
    has_failed = report("import", client, operation, imported)
    if imported["status"] != "COMPLETED":
        return True

    selection = {"filter": {"attributes": [{"name": COLUMN, "op": "EQ", "value": name}]}}
    given = {"sequenceId": sequence, "people": selection, "idempotencyKey": f"enrol-{key}-{sequence}"}
    operation = client.change("leadsEnrol", ENROL, given)
    enrolled = client.follow("enrol", operation, arguments.every)
    return report("enrol", client, operation, enrolled) or has_failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("file", help="the export: CSV in UTF-8 with a line of headers")
    parser.add_argument("--sequence", required=True, help="the name or the id of a published sequence")
    parser.add_argument("--name", help="what the export is called; without it, as the file is")
    parser.add_argument(
        "--url",
        default=os.environ.get("CADENZA_URL", "http://127.0.0.1:8080"),
        help="the server; CADENZA_URL does the same",
    )
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two looks at the progress")
    try:
        return 1 if run(parser.parse_args()) else 0
    except Trouble as trouble:
        print(f"error: {trouble}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
