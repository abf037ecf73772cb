package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tallystream/infra/functions"
	"tallystream/infra/functions/functionstest"
	"tallystream/infra/functions/verify"
	"tallystream/publish/log"
	"tallystream/schemas"
)

// states keep one state in memory, under the condition that S3 knows.
type states struct {
	body    []byte
	version verify.Version
	saves   int
}

func (s *states) Load(context.Context) ([]byte, verify.Version, error) {
	if s.body == nil {
		return nil, "", verify.ErrNone
	}
	return bytes.Clone(s.body), s.version, nil
}

func (s *states) Save(_ context.Context, b []byte, replaces verify.Version) error {
	if replaces != s.version {
		return verify.ErrMoved
	}
	s.saves++
	s.body, s.version = bytes.Clone(b), s.version+"+"
	return nil
}

// place is a site that counts what is read, and may change while somebody waits.
type place struct {
	mu    sync.Mutex // guards all below
	site  functionstest.Site
	reads int
}

func (p *place) Get(ctx context.Context, key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads++
	return p.site.Get(ctx, key)
}

// handler is one whose clock stands still; waits are counted.
func handler(t *testing.T, p *place, s verify.States) (*verify.Handler, *int) {
	n := functionstest.Rehearse(t)
	waits := new(int)
	return &verify.Handler{
		Source: p, Key: n.Key, Election: n.Election, States: s, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now,
		Sleep: func(context.Context, time.Duration) error { *waits++; return nil },
	}, waits
}

func recorded(t *testing.T, name string) json.RawMessage {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEachSnapshotIsVerifiedOnceHoweverOftenItsEventComes(t *testing.T) {
	n := functionstest.Rehearse(t)
	p, s := &place{site: n.At(t, 2)}, &states{}
	h, _ := handler(t, p, s)
	first, err := h.Handle(t.Context(), recorded(t, "s3-put.json"))
	if err != nil {
		t.Fatal(err)
	}
	if first.Snapshot != 2 || first.Before || first.Election != n.Election || s.saves != 1 {
		t.Errorf("%+v, saved %d times", first, s.saves)
	}
	reads := p.reads
	again, err := h.Handle(t.Context(), recorded(t, "s3-put.json"))
	if err != nil || !again.Before || p.reads != reads || s.saves != 1 || len(again.News) > 0 {
		t.Errorf("the second time: %+v, %v, %d objects read, saved %d times", again, err, p.reads-reads, s.saves)
	}
	// The next snapshot, asked for by S3's own test of a notification, and by a person.
	p.site = n.At(t, n.Snapshots)
	next, err := h.Handle(t.Context(), recorded(t, "s3-test.json"))
	if err != nil || next.Snapshot != n.Snapshots || next.Leaves <= first.Leaves {
		t.Errorf("%+v, %v", next, err)
	}
	if byHand, err := h.Handle(t.Context(), json.RawMessage(`null`)); err != nil || byHand.Snapshot != n.Snapshots {
		t.Errorf("by hand: %+v, %v", byHand, err)
	}
}

func TestEditorsHearOfWhatIsVerifiedAndOfEachThingOnce(t *testing.T) {
	n := functionstest.Rehearse(t)
	p := &place{site: n.At(t, 1)}
	h, _ := handler(t, p, &states{})
	told := map[verify.NewsKind]int{}
	for number := schemas.SnapshotNumber(1); number <= n.Snapshots; number++ {
		p.site = n.At(t, number)
		r, err := h.Handle(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range r.News {
			told[x.Kind]++
			if x.Kind == verify.NewsAll && (x.Reported != x.Units || x.Units == 0) {
				t.Errorf("%+v", x)
			}
		}
	}
	if told[verify.NewsAll] != 1 || told[verify.NewsHeld] == 0 {
		t.Errorf("told %v: want once that all units have reported, and what is held", told)
	}
}

func TestWhatIsWrongEndsInAnErrorThatNamesItAndLeavesTheStateAlone(t *testing.T) {
	n := functionstest.Rehearse(t)
	entries, err := schemas.ParseManifest(n.At(t, n.Snapshots)[schemas.ContentKey("manifests", n.Open(t, n.At(t, n.Snapshots)[schemas.LatestKey]).Manifest, ".ndjson")])
	if err != nil {
		t.Fatal(err)
	}
	document := entries[slices.IndexFunc(entries, func(e schemas.ManifestEntry) bool { return strings.HasPrefix(e.Key, "documents/") })]
	changed := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	for name, c := range map[string]struct {
		key   string
		plant func(functionstest.Site)
	}{
		"an object that is missing":      {schemas.SnapshotKey(2), func(s functionstest.Site) { delete(s, schemas.SnapshotKey(2)) }},
		"a signature that fails":         {log.CheckpointKey, func(s functionstest.Site) { s[log.CheckpointKey] = changed(s[log.CheckpointKey]) }},
		"a snapshot with other text":     {schemas.SnapshotKey(2), func(s functionstest.Site) { s[schemas.SnapshotKey(2)] = changed(s[schemas.SnapshotKey(2)]) }},
		"a document with another number": {document.Name, func(s functionstest.Site) { s[document.Key] = changed(s[document.Key]) }},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := &place{site: n.At(t, n.Snapshots)}, &states{}
			c.plant(p.site)
			h, waits := handler(t, p, s)
			_, err := h.Handle(t.Context(), recorded(t, "s3-put.json"))
			if !errors.Is(err, verify.ErrFailed) || !strings.Contains(err.Error(), c.key) || *waits != 2 || s.body != nil {
				t.Errorf("%v after %d waits, state %d bytes; want one that names %s, after it was found three times", err, *waits, len(s.body), c.key)
			}
		})
	}
}

// A cache that is behind, or an object that was broken on its way, looks like a
// failure, until it is read again.
func TestWhatPassesByIsNoFailure(t *testing.T) {
	n := functionstest.Rehearse(t)
	whole := n.At(t, n.Snapshots)
	p := &place{site: maps.Clone(whole)}
	p.site[schemas.LatestKey] = n.At(t, 1)[schemas.LatestKey] // two behind the checkpoint
	p.site[schemas.SnapshotKey(2)] = []byte("half of")
	s := &states{}
	h, _ := handler(t, p, s)
	h.Source = verify.Remembering(p, 64<<20)
	waits := 0
	h.Sleep = func(context.Context, time.Duration) error { waits++; p.site = whole; return nil }
	r, err := h.Handle(t.Context(), nil)
	if err != nil || waits != 1 || r.Snapshot != n.Snapshots || s.saves != 1 {
		t.Errorf("%+v, %v after %d waits", r, err, waits)
	}
}

func TestWhatIsWrittenOnceIsReadOnce(t *testing.T) {
	n := functionstest.Rehearse(t)
	p := &place{site: n.At(t, n.Snapshots)}
	h, _ := handler(t, p, &states{})
	h.Source = verify.Remembering(p, 64<<20)
	for range 2 {
		if _, err := h.Handle(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	first := p.reads
	if _, err := h.Handle(t.Context(), nil); err != nil || p.reads-first > 6 {
		t.Errorf("a run with nothing new read %d objects, %v; want latest, checkpoint, definition, roster", p.reads-first, err)
	}
}

// An invocation that comes to its end saves what it verified, and says that this
// was not all.
func TestARunThatIsOutOfTimeSavesHowFarItCame(t *testing.T) {
	n := functionstest.Rehearse(t)
	p, s := &place{site: n.At(t, n.Snapshots)}, &states{}
	h, _ := handler(t, p, s)
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	left := 10 * time.Second
	h.Now = func() time.Time { end, _ := ctx.Deadline(); return end.Add(-left) }
	_, err := h.Handle(ctx, recorded(t, "s3-put.json"))
	if !errors.Is(err, verify.ErrUnfinished) || s.saves != 1 {
		t.Fatalf("%v, saved %d times", err, s.saves)
	}
	left = time.Minute
	r, err := h.Handle(ctx, recorded(t, "s3-put.json"))
	if err != nil || r.Snapshot != n.Snapshots || s.saves != 2 {
		t.Errorf("the next: %+v, %v", r, err)
	}
}

func TestAStateThatIsNotOursIsAnError(t *testing.T) {
	n := functionstest.Rehearse(t)
	p := &place{site: n.At(t, n.Snapshots)}
	h, _ := handler(t, p, &states{body: []byte("tallystream/verify-state/v1\nsomething"), version: "1"})
	if _, err := h.Handle(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged state: %v", err)
	}
	h, _ = handler(t, p, &states{})
	h.Election = "another-2028"
	if _, err := h.Handle(t.Context(), nil); !errors.Is(err, verify.ErrFailed) {
		t.Errorf("another election at the address: %v", err)
	}
	// Two runs at once: the later one's state is not put over the earlier one's.
	s := &states{}
	h, _ = handler(t, p, overtaken{s})
	if r, err := h.Handle(t.Context(), nil); err != nil || r.Snapshot != n.Snapshots || s.saves != 0 {
		t.Errorf("overtaken: %+v, %v", r, err)
	}
}

// overtaken saves nothing: another has.
type overtaken struct{ *states }

func (overtaken) Save(context.Context, []byte, verify.Version) error { return verify.ErrMoved }

func TestAnEventOfAnotherObjectIsAMistakeOfTheDeployment(t *testing.T) {
	h, _ := handler(t, &place{}, &states{})
	for _, key := range []string{"documents/ab/abc", "snapshots/2", "snapshots/00000000x", "snapshots/%zz"} {
		event := json.RawMessage(`{"Records":[{"s3":{"object":{"key":"` + key + `"}}}]}`)
		if _, err := h.Handle(t.Context(), event); err == nil || !strings.Contains(err.Error(), "notifications") {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestAllThatIsWrongWithTheEnvironmentIsToldAtOnce(t *testing.T) {
	set := map[string]string{"TALLYSTREAM_KEY": "nonsense", "TALLYSTREAM_URL": "ftp://results.example.org"}
	_, err := verify.New(t.Context(), functions.FromEnvironment(func(name string) string { return set[name] }), slog.Default())
	for _, name := range []string{"TALLYSTREAM_KEY", "TALLYSTREAM_URL", "TALLYSTREAM_ELECTION", "TALLYSTREAM_STATE_BUCKET"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("nothing is said of %s: %v", name, err)
		}
	}
}
