"""Corrections of moto's Kinesis: records stay in their shard, and a reshard opens and closes shards."""

import bisect
import itertools

from moto.kinesis import models as kinesis
from moto.kinesis import responses as kinesis_responses
from moto.kinesis.utils import compose_shard_iterator, decompose_shard_iterator

# Sequence numbers grow over all shards, as those of AWS do, so that a child's follow its parents'.
FIRST_SEQUENCE = 49_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000_000
sequence = itertools.count(FIRST_SEQUENCE + 1)

MAX_READ = 10 << 20  # bytes that one GetRecords returns at most
MAX_RECORDS = 10_000


class Shard(kinesis.Shard):
    """A shard whose records stay where they were put."""

    __module__ = "moto.kinesis.models"  # moto files its models under the service that this names

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.first = next(sequence)
        self.last = None
        self.numbers = []
        self.records = []

    def put_record(self, partition_key, data, explicit_hash_key):
        number = next(sequence)
        self.numbers.append(number)
        self.records.append(kinesis.Record(partition_key, data, number, explicit_hash_key))
        return str(number)

    def get_records(self, last_sequence_id, limit):
        last = int(last_sequence_id)
        start = bisect.bisect_right(self.numbers, last)
        results, size = [], 0
        for record in self.records[start : start + (limit or MAX_RECORDS)]:
            size += len(record.data) * 3 // 4
            if size > MAX_READ and results:
                break
            results.append(record)
        behind = 0
        if results:
            last = results[-1].sequence_number
            behind = int(1000 * (self.records[-1].created_at - results[-1].created_at))
        return results, last, behind

    def get_min_sequence_number(self):
        return self.first

    def get_max_sequence_number(self):
        return self.numbers[-1] if self.numbers else self.first

    def get_sequence_number_at(self, at_timestamp):
        before = [r.sequence_number for r in self.records if r.created_at < at_timestamp]
        return before[-1] if before else 0

    def close(self):
        self.is_open = False
        self.last = next(sequence)

    def to_json(self):
        answer = super().to_json()
        if self.last is not None:
            answer["SequenceNumberRange"]["EndingSequenceNumber"] = str(self.last)
        return answer

    def drained(self, last):
        return not self.is_open and (not self.numbers or last >= self.numbers[-1])


def get_shard_for_key(self, partition_key, explicit_hash_key):
    if explicit_hash_key:
        key = int(explicit_hash_key)
        if key >= 2**128:
            raise kinesis.InvalidArgumentError("explicit_hash_key")
    else:
        key = int(kinesis.md5_hash(partition_key.encode("utf-8")).hexdigest(), 16)
    return next(s for s in self.shards.values() if s.is_open and s.starting_hash <= key <= s.ending_hash)


def must_be_open(self, shard):
    if not shard.is_open:
        raise kinesis.InvalidArgumentError(
            f"Shard {shard.shard_id} in stream {self.stream_name} under account {self.account_id} has already "
            "been merged or split, and thus is not eligible for merging or splitting."
        )


def split_shard(self, shard_to_split, new_starting_hash_key):
    parent, middle = self.shards[shard_to_split], int(new_starting_hash_key)
    must_be_open(self, parent)
    if not parent.starting_hash < middle <= parent.ending_hash:
        raise kinesis.InvalidArgumentError("new_starting_hash_key")
    parent.close()
    number = max(s._shard_id for s in self.shards.values()) + 1
    for index, (start, end) in enumerate(((parent.starting_hash, middle - 1), (middle, parent.ending_hash))):
        child = Shard(number + index, start, end, parent=parent.shard_id)
        self.shards[child.shard_id] = child


def merge_shards(self, shard_to_merge, adjacent_shard_to_merge):
    one, other = self.shards[shard_to_merge], self.shards[adjacent_shard_to_merge]
    must_be_open(self, one)
    must_be_open(self, other)
    if one.ending_hash + 1 != other.starting_hash and other.ending_hash + 1 != one.starting_hash:
        raise kinesis.InvalidArgumentError(adjacent_shard_to_merge)
    one.close()
    other.close()
    number = max(s._shard_id for s in self.shards.values()) + 1
    start, end = min(one.starting_hash, other.starting_hash), max(one.ending_hash, other.ending_hash)
    child = Shard(number, start, end, parent=one.shard_id, adjacent_parent=other.shard_id)
    self.shards[child.shard_id] = child


def to_json_summary(self, original=kinesis.Stream.to_json_summary):
    answer = original(self)
    answer["StreamDescriptionSummary"]["OpenShardCount"] = sum(s.is_open for s in self.shards.values())
    return answer


def get_records(self):
    """GetRecords: without a next iterator, but with the children, once a closed shard is drained."""
    arn, iterator = self._get_param("StreamARN"), self._get_param("ShardIterator")
    name, shard_id, last = decompose_shard_iterator(iterator)
    stream = self.kinesis_backend.describe_stream(arn, name)
    shard = stream.get_shard(shard_id)
    records, last, behind = shard.get_records(last, self._get_param("Limit"))
    answer = {"Records": [record.to_json() for record in records], "MillisBehindLatest": behind}
    if shard.drained(last):
        answer["ChildShards"] = [
            {
                "ShardId": s.shard_id,
                "ParentShards": [p for p in (s.parent, s.adjacent_parent) if p],
                "HashKeyRange": s.to_json()["HashKeyRange"],
            }
            for s in stream.shards.values()
            if shard_id in (s.parent, s.adjacent_parent)
        ]
    else:
        answer["NextShardIterator"] = compose_shard_iterator(name, shard, last)
    return kinesis_responses.ActionResult(answer)


def correct_kinesis():
    kinesis.Shard = Shard
    kinesis.Stream.get_shard_for_key = get_shard_for_key
    kinesis.Stream.split_shard = split_shard
    kinesis.Stream.merge_shards = merge_shards
    kinesis.Stream.to_json_summary = to_json_summary
    kinesis_responses.KinesisResponse.get_records = get_records
    # Its metrics grow with every call and nobody reads them.
    kinesis.KinesisBackend._send_stream_metrics = lambda *args, **kwargs: None
