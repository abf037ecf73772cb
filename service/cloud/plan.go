package cloud

// Attributes of both tables. There are no secondary indexes: each would double
// the write units of what it covers, and every access pattern is a Get, a
// Query of one partition key, or a transaction.
const (
	PartitionKey = "pk" // string
	SortKey      = "sk" // string
	// ExpiryAttribute holds seconds since 1970 (a number). Only the control
	// table has it as its TTL, and only rows of workers that come and go carry
	// it: nothing of theirs is needed once they are gone. The ledger forgets
	// nothing, and neither a lease's epoch nor the publication head may vanish.
	ExpiryAttribute = "expires"
)

// Plan is what an election has on AWS, as plain values. Setup executes it; a
// test of infra compares with it.
type Plan struct {
	Stream StreamSpec  `json:"stream"`
	Tables []TableSpec `json:"tables"`
	Bucket BucketSpec  `json:"bucket"`
	Key    KeySpec     `json:"key"`
}

// StreamSpec is the stream as it should be.
type StreamSpec struct {
	Name           string `json:"name"`
	Mode           string `json:"mode"` // PROVISIONED: a stream on demand spreads records with no regard to ExplicitHashKey
	Shards         int    `json:"shards"`
	RetentionHours int    `json:"retention_hours"`
	EncryptionKey  string `json:"encryption_key"`
}

// TableSpec is a table as it should be. Both keys are strings.
type TableSpec struct {
	Name                string `json:"name"`
	PartitionKey        string `json:"partition_key"`
	SortKey             string `json:"sort_key"`
	BillingMode         string `json:"billing_mode"`
	TTLAttribute        string `json:"ttl_attribute,omitempty"`
	PointInTimeRecovery bool   `json:"point_in_time_recovery"`
	DeletionProtection  bool   `json:"deletion_protection"`
	Encryption          string `json:"encryption"` // KMS: with AWS's key for DynamoDB in the account
	WarmReads           int64  `json:"warm_reads,omitempty"`
	WarmWrites          int64  `json:"warm_writes,omitempty"` // units a second that the table takes at once; 0 leaves what AWS gives (4,000)
}

// BucketSpec is the bucket as it should be.
type BucketSpec struct {
	Name              string `json:"name"`
	Region            string `json:"region,omitempty"`
	BlockPublicAccess bool   `json:"block_public_access"` // the CDN reads by its own identity
	Versioning        bool   `json:"versioning"`          // an overwritten object, which should not happen, stays as evidence
	Encryption        string `json:"encryption"`          // AES256: everything in it is public, a KMS key would only cost
	Ownership         string `json:"ownership"`
}

// KeySpec is the publisher's signing key as it should be.
type KeySpec struct {
	Alias string `json:"alias"`
	Spec  string `json:"spec"`
	Usage string `json:"usage"`
}

// Size is what depends on the election's size.
type Size struct {
	Shards     int   `help:"Shards of the stream; each takes 1,000 records and 1 MB a second." default:"4"`
	WarmWrites int64 `help:"Write units a second that the ledger takes from the first second on; 0 leaves the 4,000 of a new table." default:"0"`
	WarmReads  int64 `help:"Read units a second, likewise; 0 leaves the 12,000 of a new table." default:"0"`
}

// Retention of the stream: a week to find and mend a fault of aggregation
// before the first submission is forgotten.
const retentionHours = 168

// Plan is what the names should stand for.
func (n Names) Plan(size Size, region string) Plan {
	return Plan{
		Stream: StreamSpec{
			Name: n.Stream, Mode: "PROVISIONED", Shards: size.Shards, RetentionHours: retentionHours, EncryptionKey: "alias/aws/kinesis",
		},
		Tables: n.Tables(size),
		Bucket: BucketSpec{
			Name: n.Bucket, Region: region, BlockPublicAccess: true, Versioning: true, Encryption: "AES256", Ownership: "BucketOwnerEnforced",
		},
		Key: KeySpec{Alias: n.Key, Spec: "ECC_NIST_EDWARDS25519", Usage: "SIGN_VERIFY"},
	}
}

// Tables are the ledger and the control table.
func (n Names) Tables(size Size) []TableSpec {
	table := TableSpec{
		PartitionKey: PartitionKey, SortKey: SortKey, BillingMode: "PAY_PER_REQUEST",
		PointInTimeRecovery: true, DeletionProtection: true, Encryption: "KMS",
	}
	ledger, control := table, table
	ledger.Name, ledger.WarmReads, ledger.WarmWrites = n.Ledger, size.WarmReads, size.WarmWrites
	control.Name, control.TTLAttribute = n.Control, ExpiryAttribute
	return []TableSpec{ledger, control}
}
