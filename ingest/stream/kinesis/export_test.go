package kinesis

// InfoOf reads a shard of a listing.
var InfoOf = shardInfo
