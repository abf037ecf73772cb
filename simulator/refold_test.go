package simulator

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tallystream/publish/bucket"
	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
	"tallystream/service"
)

// logged is a record of the public log, and the partition of its stream.
type logged struct {
	partition schemas.Partition
	record    []byte
}

// recordsOf reads the public log of a directory alone.
func recordsOf(t *testing.T, dir string) (out []logged) {
	t.Helper()
	b, err := bucket.OpenDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	note, err := b.Get(t.Context(), log.CheckpointKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := log.PeekCheckpoint(note)
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range log.NewReader(b, c.Tree).Entries(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := leaf.Decode(e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		switch l := l.(type) {
		case *leaf.Submission:
			out = append(out, logged{l.Partition, bytes.Clone(l.Record)})
		case *leaf.Hold:
			if l.Record == nil {
				t.Fatalf("a hold of %d bytes is without its record", l.Bytes)
			}
			out = append(out, logged{l.Partition, bytes.Clone(l.Record)})
		case *leaf.Release:
			out = append(out, logged{l.Partition, bytes.Clone(l.Note)})
		}
	}
	return out
}

// becameOf is the ledger without positions of the stream, which duplicates have
// had too.
func becameOf(t *testing.T, n *Night) (out []string) {
	t.Helper()
	v, err := n.forPublish.Ledger.View(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	err = v.Entries(t.Context(), nil, func(x schemas.Entry, record []byte) error {
		x.At = 0
		out = append(out, fmt.Sprintf("%+v %x", x, schemas.DigestOf(record)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func awaitEntries(t *testing.T, n *Night, want int) {
	t.Helper()
	for deadline := time.Now().Add(patience); len(becameOf(t, n)) < want; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %d entries within %v", want, patience)
		}
	}
}

// TestALedgerComesOutOfThePublicLogAgain: what region-lost.md says of a home
// whose stream and tables are gone. Each record of the log, appended to an empty
// stream in the log's order, becomes what it had become, duplicates or not.
func TestALedgerComesOutOfThePublicLogAgain(t *testing.T) {
	const seed = 2
	t.Logf("seed %d", seed)
	var out bytes.Buffer
	d, err := newDrive(t.Context(), electionFlags{Generate: "county", Seed: seed, Revisions: 3}, driveFlags{Speed: "max", Viewers: 1, Clients: 32}, &out)
	if err != nil {
		t.Fatal(err)
	}
	start := func(public string) *Night {
		data := service.Data{Dir: t.TempDir()}
		if err := d.writeElection(data, "ingest", "publish"); err != nil {
			t.Fatal(err)
		}
		n, err := StartNight(context.WithoutCancel(t.Context()), NightOptions{Data: data, Bucket: public, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		})
		return n
	}
	public := filepath.Join(t.TempDir(), "public")
	lost := start(public)
	if r, err := d.play(t.Context(), lost); err != nil || !r.Reconciled {
		t.Fatalf("%v\n%s", err, out.String())
	}
	// The last of all comes twice, and what nobody could have meant after it.
	before := recordsOf(t, public)
	last := before[len(before)-1]
	for _, record := range [][]byte{last.record, []byte("no envelope")} {
		if _, err := lost.forIngest.Stream.Append(t.Context(), last.partition, record); err != nil {
			t.Fatal(err)
		}
	}
	awaitEntries(t, lost, len(before)+1)
	if err := lost.Finish(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	want, records := becameOf(t, lost), recordsOf(t, public)
	if len(records) != len(want) || len(want) == 0 {
		t.Fatalf("the log has %d records, the ledger %d entries", len(records), len(want))
	}

	for _, kind := range []schemas.EntryKind{schemas.EntryCounted, schemas.EntrySuperseded, schemas.EntryHeld} {
		if !slices.ContainsFunc(want, func(x string) bool { return strings.Contains(x, "Kind:"+string(kind)) }) {
			t.Errorf("nothing was %s in this night", kind)
		}
	}

	again := start(filepath.Join(t.TempDir(), "public"))
	for _, r := range records {
		if _, err := again.forIngest.Stream.Append(t.Context(), r.partition, r.record); err != nil {
			t.Fatal(err)
		}
	}
	awaitEntries(t, again, len(want))
	got := becameOf(t, again)
	if len(got) != len(want) {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("entry %d is\n%s\nand was\n%s", i, got[i], want[i])
		}
	}
}
