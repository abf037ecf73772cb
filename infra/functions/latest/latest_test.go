package latest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"tallystream/infra/functions"
	"tallystream/infra/functions/functionstest"
	"tallystream/infra/functions/latest"
	"tallystream/publish/log"
	"tallystream/schemas"
)

// replica is a bucket in memory whose `latest` may be written by another, just
// before a write of ours.
type replica struct {
	functionstest.Site
	before func()
	puts   int
}

func (r *replica) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := r.Site.Get(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", latest.ErrMissing, err)
	}
	return b, nil
}

func (r *replica) Missing(_ context.Context, keys []string) (string, error) {
	for _, key := range keys {
		if r.Site[key] == nil {
			return key, nil
		}
	}
	return "", nil
}

func (r *replica) Snapshots(_ context.Context, behind schemas.SnapshotNumber) (out []schemas.SnapshotNumber, _ error) {
	for n := behind + 1; n < behind+100; n++ {
		if r.Site[schemas.SnapshotKey(n)] != nil {
			out = append(out, n)
		}
	}
	return out, nil
}

func (r *replica) Latest(ctx context.Context) ([]byte, latest.Version, error) {
	b, err := r.Get(ctx, schemas.LatestKey)
	return b, version(b), err
}

func version(b []byte) latest.Version {
	if b == nil {
		return ""
	}
	return latest.Version(schemas.DigestOf(b).String())
}

func (r *replica) Replace(_ context.Context, note []byte, read latest.Version) error {
	if r.before != nil {
		r.before()
		r.before = nil
	}
	if version(r.Site[schemas.LatestKey]) != read {
		return latest.ErrMoved
	}
	r.puts++
	r.Site[schemas.LatestKey] = note
	return nil
}

// marks hold one value: the publication's mark.
type marks struct{ mark []byte }

func (r *marks) Load(context.Context, string) ([]byte, error) { return r.mark, nil }

// mark is what a publisher of this region has written.
func mark(origin string, epoch int, note []byte) []byte {
	return append(fmt.Appendf(nil, "%s/publication/v1\nepoch %d\nowner somebody\nnote %d\nstage 0\n\n", origin, epoch, len(note)), note...)
}

func open(t *testing.T, site functionstest.Site) (*latest.Handler, *replica, *marks) {
	t.Helper()
	key, err := note.NewVerifier(functionstest.Rehearse(t).Key)
	if err != nil {
		t.Fatal(err)
	}
	r, g := &replica{Site: site}, &marks{}
	return &latest.Handler{Bucket: r, Register: g, Key: key, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}, r, g
}

// behind is a copy in which everything has come but a `latest` newer than that.
func behind(t *testing.T, number schemas.SnapshotNumber) functionstest.Site {
	n := functionstest.Rehearse(t)
	site := n.At(t, n.Snapshots)
	site[schemas.LatestKey] = site[schemas.SnapshotKey(number)]
	return site
}

func recorded(t *testing.T, name string) json.RawMessage {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLatestMovesToTheNewestWholeSnapshotAndOnceOnly(t *testing.T) {
	n := functionstest.Rehearse(t)
	h, r, _ := open(t, behind(t, 1))
	said, err := h.Handle(t.Context(), recorded(t, "look.json"))
	if err != nil || said.From != 1 || said.To != n.Snapshots || said.Moved || r.puts != 0 {
		t.Fatalf("a look: %+v, %v, %d puts", said, err, r.puts)
	}
	for again := range 2 {
		did, err := h.Handle(t.Context(), recorded(t, "move.json"))
		if err != nil || did.To != n.Snapshots || did.Moved != (again == 0) || r.puts != 1 {
			t.Errorf("order %d: %+v, %v, %d puts", again+1, did, err, r.puts)
		}
	}
	if !bytes.Equal(r.Site[schemas.LatestKey], r.Site[schemas.SnapshotKey(n.Snapshots)]) {
		t.Error("latest is not the snapshot's own note")
	}
	// Where nothing was named yet.
	site := behind(t, 1)
	delete(site, schemas.LatestKey)
	h, _, _ = open(t, site)
	if did, err := h.Handle(t.Context(), recorded(t, "move.json")); err != nil || did.From != 0 || did.To != n.Snapshots || !did.Moved {
		t.Errorf("without latest: %+v, %v", did, err)
	}
}

func TestWhatHasNotComeWholeIsPassedBy(t *testing.T) {
	n := functionstest.Rehearse(t)
	newest := n.Snapshots
	s := n.Open(t, behind(t, 1)[schemas.SnapshotKey(newest)])
	manifest := schemas.ContentKey("manifests", s.Manifest, ".ndjson")
	before := n.Open(t, behind(t, 1)[schemas.SnapshotKey(newest-1)])
	entries, err := schemas.ParseManifest(behind(t, 1)[manifest])
	if err != nil {
		t.Fatal(err)
	}
	older, err := schemas.ParseManifest(behind(t, 1)[schemas.ContentKey("manifests", before.Manifest, ".ndjson")])
	if err != nil {
		t.Fatal(err)
	}
	// An object that only the newest one names.
	only := ""
	for _, e := range entries {
		shared := false
		for _, o := range older {
			shared = shared || o.Key == e.Key
		}
		if !shared {
			only = e.Key
		}
	}
	if only == "" {
		t.Fatal("the last two snapshots name the same objects")
	}
	for name, plant := range map[string]func(functionstest.Site){
		"an object":              func(s functionstest.Site) { delete(s, only) },
		"the manifest":           func(s functionstest.Site) { delete(s, manifest) },
		"the manifest is broken": func(s functionstest.Site) { s[manifest] = []byte("half of it") },
		"the note is not signed": func(s functionstest.Site) { s[schemas.SnapshotKey(newest)] = []byte("half of it") },
		"the checkpoint":         func(s functionstest.Site) { s[log.CheckpointKey] = n.At(t, newest-1)[log.CheckpointKey] },
	} {
		t.Run(name, func(t *testing.T) {
			site := behind(t, 1)
			plant(site)
			h, r, _ := open(t, site)
			did, err := h.Handle(t.Context(), recorded(t, "move.json"))
			if err != nil || did.To >= newest || len(did.Passed) == 0 || did.Passed[0].Snapshot != newest || did.Passed[0].Why == "" {
				t.Errorf("%+v, %v", did, err)
			}
			if _, err := h.Handle(t.Context(), json.RawMessage(fmt.Sprintf(`{"move":true,"snapshot":%d}`, newest))); !errors.Is(err, latest.ErrNothing) {
				t.Errorf("asked for that one: %v", err)
			}
			if r.puts > 1 {
				t.Errorf("%d puts", r.puts)
			}
		})
	}
}

func TestAFailoverIsFencedByThePublishersMark(t *testing.T) {
	n := functionstest.Rehearse(t)
	newest := n.Snapshots
	noteOf := func(number schemas.SnapshotNumber) []byte { return behind(t, 1)[schemas.SnapshotKey(number)] }
	origin := n.Open(t, noteOf(1)).Origin
	for _, c := range []struct {
		name string
		at   schemas.SnapshotNumber // that latest names
		mark []byte
		to   schemas.SnapshotNumber
		want error
	}{
		{"an epoch was taken and nothing decided", 1, mark(origin, 1, nil), newest, nil},
		{"a publisher decided the one before the newest", 1, mark(origin, 3, noteOf(newest-1)), newest - 1, nil},
		{"it decided what latest names", newest - 1, mark(origin, 3, noteOf(newest-1)), newest - 1, nil},
		{"latest is ahead of what it decided", newest, mark(origin, 3, noteOf(newest-1)), 0, latest.ErrForeign},
		{"it decided another snapshot of that number", 1, mark(origin, 3, n.Sign(t, fork(t, n, newest))), 0, latest.ErrForeign},
		{"it decided one that is not here yet", 1, mark(origin, 3, n.Sign(t, following(t, n))), 0, latest.ErrFenced},
		{"the mark is damaged", 1, []byte("something"), 0, errAny},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, r, g := open(t, behind(t, c.at))
			g.mark = c.mark
			did, err := h.Handle(t.Context(), recorded(t, "move.json"))
			switch {
			case c.want == nil && (err != nil || did.To != c.to || did.Epoch == 0):
				t.Errorf("%+v, %v; want %d", did, err, c.to)
			case c.want == errAny && err == nil, c.want != nil && c.want != errAny && !errors.Is(err, c.want):
				t.Errorf("%+v, %v; want %v", did, err, c.want)
			case c.want != nil && r.puts != 0:
				t.Errorf("%d puts", r.puts)
			}
		})
	}
}

var errAny = errors.New("any error")

// fork is another snapshot of the same number, as a second publisher would make it.
func fork(t *testing.T, n *functionstest.Night, number schemas.SnapshotNumber) *schemas.Snapshot {
	s := n.Open(t, n.At(t, n.Snapshots)[schemas.SnapshotKey(number)])
	s.Time = "2031-01-01T00:00:00.000Z"
	return s
}

// following is the snapshot behind the newest.
func following(t *testing.T, n *functionstest.Night) *schemas.Snapshot {
	b := n.At(t, n.Snapshots)[schemas.LatestKey]
	s := n.Open(t, b)
	s.Number, s.Log, s.Previous = s.Number+1, s.Log+1, schemas.DigestOf(b)
	return s
}

// A publisher that starts between our look and our write wins, whatever it wrote.
func TestALatestThatChangedMeanwhileIsNotPutOver(t *testing.T) {
	n := functionstest.Rehearse(t)
	h, r, g := open(t, behind(t, 1))
	next := r.Site[schemas.SnapshotKey(n.Snapshots-1)]
	r.before = func() {
		g.mark = mark(n.Open(t, next).Origin, 1, next)
		r.Site[schemas.LatestKey] = next
	}
	did, err := h.Handle(t.Context(), recorded(t, "move.json"))
	if err != nil || did.Moved || did.To != n.Snapshots-1 || r.puts != 0 || !bytes.Equal(r.Site[schemas.LatestKey], next) {
		t.Errorf("%+v, %v, %d puts", did, err, r.puts)
	}
}

func TestLatestNeverLeavesItsChain(t *testing.T) {
	n := functionstest.Rehearse(t)
	site := behind(t, 1)
	site[schemas.LatestKey] = n.Sign(t, fork(t, n, n.Snapshots-1)) // signed, and of no snapshot of this log
	h, r, _ := open(t, site)
	if did, err := h.Handle(t.Context(), recorded(t, "move.json")); !errors.Is(err, latest.ErrForeign) || r.puts != 0 {
		t.Errorf("from a fork: %+v, %v", did, err)
	}
	site = behind(t, 1)
	site[schemas.LatestKey] = []byte("somebody else's")
	h, r, _ = open(t, site)
	if did, err := h.Handle(t.Context(), recorded(t, "move.json")); !errors.Is(err, latest.ErrForeign) || r.puts != 0 {
		t.Errorf("from something that is not signed: %+v, %v", did, err)
	}
}

func TestAnOrderIsReadStrictly(t *testing.T) {
	h, r, _ := open(t, behind(t, 1))
	for _, order := range []string{``, `"move"`, `{"Move":"yes"}`, `{"force":true}`, `{"move":true,"snapshot":-1}`} {
		if _, err := h.Handle(t.Context(), json.RawMessage(order)); err == nil || !strings.Contains(err.Error(), `{"move": true}`) || r.puts != 0 {
			t.Errorf("%s: %v", order, err)
		}
	}
}

func TestAllThatIsWrongWithTheEnvironmentIsToldAtOnce(t *testing.T) {
	_, err := latest.New(t.Context(), functions.FromEnvironment(func(string) string { return "" }), slog.Default())
	for _, name := range []string{"TALLYSTREAM_KEY", "TALLYSTREAM_AWS_BUCKET", "TALLYSTREAM_ELECTION"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("nothing is said of %s: %v", name, err)
		}
	}
}
