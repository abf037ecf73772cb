package audit_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/mod/sumdb/note"

	"tallystream/aggregate/ledger"
	"tallystream/publish/audit"
	"tallystream/publish/stores"
	"tallystream/schemas"
	"tallystream/service"
	"tallystream/simulator"
)

// night is a played one, on disk.
type night struct {
	data   service.Data
	bucket string
}

// played are the nights that tests read, and never write, by kind.
var played = struct {
	sync.Mutex
	nights map[string]night
}{nights: map[string]night{}}

// TestMain removes what the played nights left.
func TestMain(m *testing.M) {
	code := m.Run()
	for _, n := range played.nights {
		os.RemoveAll(n.data.Dir)
		os.RemoveAll(n.bucket)
	}
	os.Exit(code)
}

// falling is the kind of a county's night in which numbers fell: one hold was
// released, another replaced, and one unit was corrected.
const falling = "falling"

// aNight plays a night of that kind through every stage, once for all tests.
func aNight(t testing.TB, kind string) night {
	t.Helper()
	played.Lock()
	defer played.Unlock()
	if n, ok := played.nights[kind]; ok {
		return n
	}
	data, err := os.MkdirTemp("", "audit-data-")
	if err != nil {
		t.Fatal(err)
	}
	public, err := os.MkdirTemp("", "audit-public-")
	if err != nil {
		t.Fatal(err)
	}
	n := night{service.Data{Dir: data}, public}
	rehearse(t, n, func(c *simulator.RehearseCommand) {
		if c.Generate = kind; kind == falling {
			c.Generate, c.Seed, c.Revisions, c.Clients = "county", 144, 2, 1 // one after the other: lists have one order
		}
	})
	played.nights[kind] = n
	return n
}

// rehearse plays a night into n's directories.
func rehearse(t testing.TB, n night, change func(*simulator.RehearseCommand)) {
	t.Helper()
	var c simulator.RehearseCommand
	c.Generate, c.Seed, c.Revisions, c.Released, c.Speed, c.Clients = "county", 7, 1, 0.5, "max", 64
	c.Data, c.Out, c.Listen, c.Exit = n.data.Dir, n.bucket, "127.0.0.1:0", true
	change(&c)
	if err := c.Run(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
}

// open opens the night's stores for reading, as the command does.
func (n night) open(t testing.TB) audit.Config {
	t.Helper()
	opened, err := n.data.Open()
	if err != nil {
		t.Fatal(err)
	}
	s, err := stores.Open(t.Context(), stores.Config{
		Options: service.Options{Data: n.data.Dir}, Bucket: n.bucket, Opened: opened, Registry: prometheus.NewRegistry(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	p, err := s.Publish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v, err := note.NewVerifier(p.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Ledger(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.Bucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return audit.Config{Election: opened.Election, Keyring: opened.Keyring, Ledger: l, Bucket: b, Verifier: v, Final: true}
}

// forged is a ledger in which some things read otherwise.
type forged struct {
	audit.Ledger
	entry func(x *schemas.Entry, record []byte) (out []byte, err error) // of each entry, on its way out; errGone: there is none
	tally func(c schemas.CountyIndex, t *ledger.Tally)
	heads func([]ledger.Head)
	unit  func(x *schemas.Entry) bool // of a unit's list; false leaves it out
}

var errGone = errors.New("gone")

func (f *forged) View(ctx context.Context) (ledger.View, error) {
	v, err := f.Ledger.View(ctx)
	if err != nil {
		return nil, err
	}
	heads := slices.Clone(v.Heads())
	if f.heads != nil {
		f.heads(heads)
	}
	return &forgedView{v, f, heads}, nil
}

func (f *forged) Units(ctx context.Context, p []schemas.Partition, fn func(schemas.Entry) error) error {
	return f.Ledger.Units(ctx, p, func(x schemas.Entry) error {
		if f.unit != nil && !f.unit(&x) {
			return nil
		}
		return fn(x)
	})
}

type forgedView struct {
	ledger.View
	f     *forged
	heads []ledger.Head
}

func (v *forgedView) Heads() []ledger.Head { return v.heads }

// Follow shows the true heads.
func (v *forgedView) Follow(ctx context.Context, p []schemas.Partition) error {
	err := v.View.Follow(ctx, p)
	for _, p := range p {
		v.heads[p] = v.View.Heads()[p]
	}
	return err
}

func (v *forgedView) Entries(ctx context.Context, after []uint64, fn func(schemas.Entry, []byte) error) error {
	return v.View.Entries(ctx, after, func(x schemas.Entry, b []byte) error {
		if x.Seq > v.heads[x.Partition].Size {
			return nil
		}
		if v.f.entry == nil {
			return fn(x, b)
		}
		out, err := v.f.entry(&x, slices.Clone(b))
		if errors.Is(err, errGone) {
			return nil
		}
		if err != nil {
			return err
		}
		return fn(x, out)
	})
}

func (v *forgedView) Tallies(ctx context.Context, c []schemas.CountyIndex) ([]ledger.Tally, error) {
	out, err := v.View.Tallies(ctx, c)
	for i := range out {
		if v.f.tally != nil {
			v.f.tally(c[i], &out[i])
		}
	}
	return out, err
}

// repainted is a bucket in which some objects read otherwise.
type repainted struct {
	audit.Bucket
	edit func(key string, b []byte) ([]byte, error)
}

func (r repainted) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := r.Bucket.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return r.edit(key, slices.Clone(b))
}

// keyOf is where the newest snapshot's object of that name lies.
func keyOf(t *testing.T, cfg audit.Config, name string) string {
	t.Helper()
	b, err := cfg.Bucket.Get(t.Context(), schemas.LatestKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := schemas.OpenSnapshot(b, cfg.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	if b, err = cfg.Bucket.Get(t.Context(), schemas.ContentKey("manifests", s.Manifest, ".ndjson")); err != nil {
		t.Fatal(err)
	}
	entries, err := schemas.ParseManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name == name {
			return e.Key
		}
	}
	t.Fatalf("the manifest does not name %s", name)
	return ""
}

// told spells a report's differences, one a line.
func told(r *audit.Report) string {
	var b strings.Builder
	for _, d := range r.Told {
		fmt.Fprintf(&b, "%s|%s|%s|%s|%s|%s|%s|%s|%s|%s|%s\n", d.Kind, d.Where, d.County, d.Unit, d.Contest, d.Selection, d.CountType,
			spell(d.Ledger), spell(d.Recomputed), spell(d.Published), d.What)
	}
	return b.String()
}

func spell(n *int64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}
