"""Corrections of moto's DynamoDB: transactions that copy items instead of tables, and know their token."""

import hashlib
import json
import math
import time

from moto.dynamodb import models as dynamodb
from moto.dynamodb import responses as dynamodb_responses
from moto.dynamodb.exceptions import DynamodbException, MockValidationException
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table

TOKEN_SECONDS = 600  # for which a ClientRequestToken is remembered
MAX_TRANSACTION = 4 << 20  # bytes of all its items

tokens = {}  # by (account, region, token): (digest of the request, when it is forgotten)


def touched(backend, transact_items):
    """Yields (table, hash key, range key) of each item of a transaction."""
    for item in transact_items:
        kind, op = next(iter(item.items()))
        table = backend.tables.get(op.get("TableName"))
        if table is None:
            continue
        key = op["Item"] if kind == "Put" else op["Key"]
        hash_key = DynamoType(key[table.hash_key_attr])
        range_key = DynamoType(key[table.range_key_attr]) if table.range_key_attr else None
        yield table, hash_key, range_key


def stored(table, hash_key, range_key):
    if range_key is None:
        return table.items.get(hash_key)
    return table.items[hash_key].get(range_key) if hash_key in table.items else None


def restore(table, hash_key, range_key, before):
    if before is None:
        if range_key is None:
            table.items.pop(hash_key, None)
        elif hash_key in table.items:
            table.items[hash_key].pop(range_key, None)
    elif range_key is None:
        table.items[hash_key] = before
    else:
        table.items[hash_key][range_key] = before


class Uncopied:
    """Replaces copy in moto's models while a transaction runs: tables come back as they are.

    Moto makes a deep copy of each table for each item of a transaction, and puts the copies back if
    it fails. Here the items that it may touch are copied, once.
    """

    def __init__(self, original):
        self.original = original

    def deepcopy(self, what, *args):
        return what if isinstance(what, Table) else self.original.deepcopy(what, *args)

    def __getattr__(self, name):
        return getattr(self.original, name)


def transact_write_items(self, transact_items, original=dynamodb.DynamoDBBackend.transact_write_items):
    keys = list(touched(self, transact_items))
    before = [(key, dynamodb.copy.deepcopy(stored(*key))) for key in keys]
    copy = dynamodb.copy
    dynamodb.copy = Uncopied(copy)
    try:
        original(self, transact_items)
        if sum(item.size() for item in (stored(*key) for key in keys) if item is not None) > MAX_TRANSACTION:
            raise MockValidationException("Transaction request size cannot exceed 4MB")
    except BaseException:
        for key, item in before:
            restore(*key, item)
        raise
    finally:
        dynamodb.copy = copy
    return units(before)


def units(before):
    """Write units by table: two for each KB begun of the larger of an item's sizes before and after."""
    by_table = {}
    for key, old in before:
        size = max((item.size() for item in (old, stored(*key)) if item is not None), default=0)
        name = key[0].name
        by_table[name] = by_table.get(name, 0) + 2 * max(1, math.ceil(size / 1024))
    return by_table


class IdempotentParameterMismatch(DynamodbException):
    def __init__(self):
        super().__init__(
            "com.amazonaws.dynamodb.v20120810#IdempotentParameterMismatchException",
            "The request's parameters differ from those of the earlier request with this ClientRequestToken",
        )


original_response = dynamodb_responses.DynamoHandler.transact_write_items


def transact_write_response(self):
    """TransactWriteItems, once for a token, and with what it cost if that is asked for."""
    body, backend, now = self.body, self.dynamodb_backend, time.monotonic()
    for old in [name for name, (_, until) in tokens.items() if until < now]:
        del tokens[old]
    token = (backend.account_id, backend.region_name, body.get("ClientRequestToken"))
    digest = hashlib.sha256(json.dumps(body["TransactItems"], sort_keys=True, default=bytes.hex).encode()).digest()
    cost = {}
    if token in tokens:
        if tokens[token][0] != digest:
            raise IdempotentParameterMismatch()
    else:
        original_backend = backend.transact_write_items
        backend.transact_write_items = lambda items: cost.update(original_backend(items))
        try:
            original_response(self)  # checks the request, then calls the backend
        finally:
            del backend.transact_write_items
        if token[2]:
            tokens[token] = (digest, now + TOKEN_SECONDS)
    consumed = []
    if body.get("ReturnConsumedCapacity", "NONE") != "NONE":
        consumed = [
            {"TableName": name, "CapacityUnits": float(n), "WriteCapacityUnits": float(n)} for name, n in cost.items()
        ]
    return dynamodb_responses.ActionResult({"ConsumedCapacity": consumed, "ItemCollectionMetrics": {}})


def query(self, hash_key, *args, original=Table.query, **kwargs):
    """Query of one partition: moto's own sorts the whole table for it first."""
    if kwargs.get("index_name") is None and self.range_key_attr and hash_key is not None:
        self.all_items = lambda: list(self.items[hash_key].values()) if hash_key in self.items else []
    try:
        return original(self, hash_key, *args, **kwargs)
    finally:
        self.__dict__.pop("all_items", None)


def correct_dynamodb():
    dynamodb.DynamoDBBackend.transact_write_items = transact_write_items
    dynamodb_responses.DynamoHandler.transact_write_items = transact_write_response
    Table.query = query
