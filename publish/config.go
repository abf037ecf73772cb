package publish

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/ledger"
	"tallystream/publish/bucket"
	"tallystream/publish/log/witness"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// Defaults of Config.
const (
	DefaultDeltaEvery     = 100 * time.Millisecond
	DefaultSnapshotEvery  = time.Second
	DefaultHeartbeatEvery = 60 * time.Second
	DefaultPollEvery      = time.Second
	DefaultPagesEvery     = 5 * time.Second
	DefaultResultsRows    = 1_000_000
	DefaultLogBytes       = 32 << 20
	// DefaultDocumentRate bounds how fast a night fills the bucket: 4 MB/s are
	// 115 GB in eight hours of constant change everywhere at the size of the
	// US; a state at the pace of a real night needs a few GB.
	DefaultDocumentRate = 4 << 20
	// DefaultExportRate does the same for CSV and unit lines: 128 KiB/s are
	// 3.8 GB in eight hours.
	DefaultExportRate = 128 << 10
)

// maxFrame is the largest delta that is sent, in bytes. A larger one is left
// out: its document's next snapshot brings viewers up to date.
const maxFrame = 4 << 20

// Ledger opens views of the ledgers: entries with their exact bytes, and the
// tallies to compare with.
type Ledger interface {
	View(ctx context.Context) (ledger.View, error)
}

// Bucket holds what is published. When a write returns without error it is
// durable. An error leaves open whether objects were stored: writing the same
// again must be harmless.
type Bucket interface {
	// PutNew writes objects whose keys are free or hold the same bytes;
	// bucket.ErrDiffers if one holds others, which then stay.
	PutNew(ctx context.Context, objects ...bucket.Object) error
	// Replace writes objects over what is there, each whole or not at all.
	Replace(ctx context.Context, objects ...bucket.Object) error
	// Get reads an object; bucket.ErrNotFound if there is none.
	Get(ctx context.Context, key string) ([]byte, error)
}

// Announcer tells the fanout. What it says are hints: the bucket is the truth,
// and an error is logged and passed over.
type Announcer interface {
	// Delta sends a delta frame; frame is only valid until it returns.
	Delta(ctx context.Context, document schemas.DocumentID, frame []byte) error
	// Published follows each snapshot. After the first of an epoch it names
	// every document, in several messages where there are many.
	Published(ctx context.Context, p schemas.Published) error
}

// Config of a Sequencer. What has no default must be set.
type Config struct {
	Election *schemas.Election
	// Definition and Roster are published as they are: their exact bytes.
	Definition, Roster []byte

	Ledger    Ledger
	Register  Register
	Bucket    Bucket
	Announcer Announcer

	// Signer signs snapshots and the log's checkpoints. It is named as the
	// election's origin, because that is how checkpoints are verified; no two
	// texts that it signs can be taken for each other. VerifierKey (name+hash+key)
	// is its public half, published beside them and used to read them back at
	// the start.
	Signer      note.Signer
	VerifierKey string
	// ReceiptKey is the verifier key of receipts, named in the log's first leaf;
	// empty: the log says nothing of receipts.
	ReceiptKey string
	// Secret is what the salts of sealed leaves are made of; needed where the
	// election hides units (Rules.Suppression), and the same for the whole night.
	Secret *suppress.Secret

	// Roots are the offline keys of which Threshold must sign each change of
	// roster and keys. They stand in the log's first leaf; without any nothing may
	// change. A later start may leave them out.
	Roots     []string
	Threshold int
	// NextSigner signs beside Signer while one key is handed over to the next;
	// nil: nobody does.
	NextSigner note.Signer
	// Lag: all that was in the stream so long ago is in the ledger. An error where
	// that is not known. It is asked each PollEvery while a change of keys waits;
	// nil: the change waits for Drain alone.
	Lag func(ctx context.Context) (time.Duration, error)
	// Drain is the longest time until all that was taken without knowing of a
	// change is in the stream.
	Drain time.Duration

	// Witnesses are asked to cosign each checkpoint, for a second at most. Whether
	// they do changes nothing here.
	Witnesses []*witness.Client

	// Wake hints that the ledger grew. Lost hints only cost PollEvery.
	Wake <-chan struct{}
	// Now is the clock; time.Now by default. Sleep waits by it, and returns early
	// with an error when ctx ends.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
	// Nonce is a new random word each time; crypto/rand.Text by default.
	Nonce func() string

	// DeltaEvery, SnapshotEvery and PagesEvery are the least intervals; each
	// stretches when its work costs more than a few percent of a core.
	DeltaEvery, SnapshotEvery, PagesEvery time.Duration
	// Share of one core's time that ticks may take, and snapshots besides; a few
	// percent by default. 1 is for rehearsals in which somebody waits for each.
	Share float64
	// HeartbeatEvery is the longest time without a new snapshot.
	HeartbeatEvery time.Duration
	// PollEvery is how often the ledger is looked at without a hint.
	PollEvery time.Duration

	// LogBytes of leaves do not wait for the next snapshot on their way to the
	// log, which bounds the memory that they take.
	LogBytes int

	// ExportEvery is the least interval of CSV files (and unit lines) during
	// the night; 0 writes them at Finish only.
	ExportEvery time.Duration
	// NoCSV leaves CSV out, UnitLines asks for unit lines too.
	NoCSV, UnitLines bool
	// UnitReports asks for a report of every county by unit in the common data
	// format; the one of the election by county is always written.
	UnitReports bool
	// Test marks reports as those of a test, such as "rehearsal".
	Test string
	// ResultsRows is the most rows of results.csv, the one file with
	// everything; beyond it there are only files by county.
	ResultsRows int
	// DocumentRate and ExportRate bound the bytes a second that snapshots and
	// exports write on average.
	DocumentRate, ExportRate float64

	// LiveURL is where the fanout serves, such as wss://live.example.org; empty:
	// beside the pages.
	LiveURL string

	Metrics *Metrics
	Logger  *slog.Logger
}

func (c *Config) setDefaults() error {
	for name, missing := range map[string]bool{
		"Election": c.Election == nil, "Definition": len(c.Definition) == 0, "Roster": len(c.Roster) == 0, "Ledger": c.Ledger == nil,
		"Register": c.Register == nil, "Bucket": c.Bucket == nil, "Announcer": c.Announcer == nil,
		"Signer": c.Signer == nil, "VerifierKey": c.VerifierKey == "", "Metrics": c.Metrics == nil, "Logger": c.Logger == nil,
	} {
		if missing {
			return fmt.Errorf("publish: Config.%s is not set", name)
		}
	}
	if schemas.DigestOf(c.Definition) != c.Election.Hash {
		return fmt.Errorf("publish: Config.Definition is not the definition of Config.Election")
	}
	if origin := c.Election.Definition.Origin; c.Signer.Name() != origin {
		return fmt.Errorf("publish: Config.Signer is named %q, want the election's origin, %q", c.Signer.Name(), origin)
	}
	if err := c.checkSecret(); err != nil {
		return err
	}
	if c.NextSigner != nil && c.NextSigner.Name() != c.Signer.Name() {
		return fmt.Errorf("publish: Config.NextSigner is named %q, want the election's origin", c.NextSigner.Name())
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Sleep == nil {
		c.Sleep = sleep
	}
	if c.Nonce == nil {
		c.Nonce = rand.Text
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&c.DeltaEvery, DefaultDeltaEvery}, {&c.SnapshotEvery, DefaultSnapshotEvery}, {&c.PagesEvery, DefaultPagesEvery},
		{&c.HeartbeatEvery, DefaultHeartbeatEvery}, {&c.Drain, DefaultDrain}, {&c.PollEvery, DefaultPollEvery},
	} {
		if *d.value <= 0 {
			*d.value = d.or
		}
	}
	if c.ResultsRows == 0 {
		c.ResultsRows = DefaultResultsRows
	}
	if c.LogBytes == 0 {
		c.LogBytes = DefaultLogBytes
	}
	if c.DocumentRate == 0 {
		c.DocumentRate = DefaultDocumentRate
	}
	if c.ExportRate == 0 {
		c.ExportRate = DefaultExportRate
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
